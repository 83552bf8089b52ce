package tpmtest

// Unplug ends the chip's process and returns the folder of its seeds and memory,
// for a virtual machine that starts it by itself. [TPM.Restart] takes it back.
func (x *TPM) Unplug() (state string) {
	x.t.Helper()
	x.Stop()
	return x.state
}
