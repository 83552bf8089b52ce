// Package collectors finds out what is true of this machine.
//
// Each claim of [posture.Claims] has one collector per operating system; the
// list of a system is one screen, in order, in linux.go, windows.go and
// darwin.go. Reading and parsing are two things: parsers are pure functions
// without an OS suffix, tested everywhere over captured inputs below testdata;
// only the small OS files read.
//
// It guarantees that it always answers every claim: a collector that is
// missing, fails, panics or outlives its deadline yields unknown with a reason
// of its own, and nothing that was not found is ever yes. It runs commands only
// through the function it is given, and none at all when it reads another root.
//
// Of gopsutil (v3, which is frozen) one call is used, because it reads a file,
// runs nothing and refuses what it does not understand:
// mem.SwapDevicesWithContext, for /proc/swaps (swaps_linux.go). Its package host
// starts programs and stays out.
//
// It does not judge: whether a version is still supported or a laptop may pass
// is the server's to say.
package collectors
