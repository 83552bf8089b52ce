package bootlog

import "encoding/binary"

// OfEarlierStart: Windows was resumed. Its kernel was started before, and the PCRs,
// which tell of the resume loader, say nothing good of it.
const OfEarlierStart Reason = "of-an-earlier-start"

// The PCRs that Windows' loader measures into, beside BitLocker's 11: settings, loaded
// modules, and authorities of modules. Each ends with a divider of "WBCL", after which
// any program may have extended it.
const (
	firstLoaderPCR = 12
	lastLoaderPCR  = 14
)

// Ids of SIPA events (wbcl.h of the Windows SDK).
const (
	sipaTrustBoundary = 0x40010001
	sipaELAM          = 0x40010002

	sipaBootCounter     = 0x00020002
	sipaTransferControl = 0x00020003
	sipaBootDebugging   = 0x00040001
	sipaKernelDebug     = 0x00050001
	sipaCodeIntegrity   = 0x00050002
	sipaTestSigning     = 0x00050003
	sipaSafeMode        = 0x00050005
	sipaWinPE           = 0x00050006
	sipaHypervisor      = 0x0005000a
	sipaHypervisorDebug = 0x0005000d
	sipaVSM             = 0x00050012
	sipaNoAuthority     = 0x00060001
	sipaELAMKeyName     = 0x00090001
	sipaHVCI            = 0x000a0007

	sipaErrors = 0x00030000 // the class of failures to measure, or to start a thing
)

// Programs that the boot manager gives control to, by SIPAEVENT_TRANSFER_CONTROL.
const (
	toLoader = 1 // winload
	toResume = 2 // winresume
)

// hvciEnabled is the bit of SIPAEVENT_VBS_HVCI_POLICY that turns memory integrity on.
// The SDK does not name the bits; a policy without this one is not interpreted.
const hvciEnabled = 1

// windowsAuthorities are the SHA-256 of the two certificates below which Microsoft
// signs Windows' boot programs and nobody else's: Microsoft Windows Production PCA 2011
// and Windows UEFI CA 2023, as published with Microsoft's Secure Boot key guidance.
var windowsAuthorities = [...][32]byte{
	{
		0xe8, 0xe9, 0x5f, 0x07, 0x33, 0xa5, 0x5e, 0x8b, 0xad, 0x7b, 0xe0, 0xa1, 0x41, 0x3e, 0xe2, 0x3c,
		0x51, 0xfc, 0xea, 0x64, 0xb3, 0xc8, 0xfa, 0x6a, 0x78, 0x69, 0x35, 0xfd, 0xdc, 0xc7, 0x19, 0x61,
	},
	{
		0x07, 0x6f, 0x1f, 0xea, 0x90, 0xac, 0x29, 0x15, 0x5e, 0xbf, 0x77, 0xc1, 0x76, 0x82, 0xf7, 0x5f,
		0x1f, 0xdd, 0x1b, 0xe1, 0x96, 0xda, 0x30, 0x2d, 0xc8, 0x46, 0x1e, 0x35, 0x0a, 0x9a, 0xe3, 0x30,
	},
}

// readWindows reads what Windows' loader measured. All is bound or nothing is said: one
// event that is hidden could be the one that says the worse.
func readWindows(w *working, a *Account) Fact[Windows] {
	for pcr := firstLoaderPCR; pcr <= lastLoaderPCR; pcr++ {
		if !w.explained(pcr) {
			return unknown[Windows](NotReplayed)
		}
	}
	switch {
	case !w.hasLoader():
		return unknown[Windows](NotLogged)
	case !windowsAlone(a):
		return unknown[Windows](Foreign)
	}
	var l loader
	for pcr := firstLoaderPCR; pcr <= lastLoaderPCR; pcr++ {
		if r := l.read(w, pcr); r != "" {
			return unknown[Windows](r)
		}
	}
	if l.stranger {
		return unknown[Windows](Foreign)
	}
	return known(firstLoaderPCR, l.first, l.windows())
}

// hasLoader tells whether Windows' loader left a trace. Others use these PCRs too.
func (w *working) hasLoader() bool {
	for pcr := firstLoaderPCR; pcr <= lastLoaderPCR; pcr++ {
		steps := w.steps(pcr)
		for i := range steps {
			if steps[i].mark == wbclDivider {
				return true
			}
		}
		if len(steps) == 0 {
			continue
		}
		if b, bound := w.body(&steps[0]); bound && len(b) >= taggedHead && binary.LittleEndian.Uint32(b) == sipaTrustBoundary {
			return true
		}
	}
	return false
}

// windowsAlone tells whether all that ran before Windows' kernel, beside firmware itself,
// was Windows: only then nobody else could have written the loader's events. Drivers are
// no exception: one that came from a disk could have. Without Secure Boot there are no
// authorities, and that all of none are Windows' says nothing.
func windowsAlone(a *Account) bool {
	if !a.SecureBoot.Known || !a.SecureBoot.Value || !a.Authorities.Known {
		return false
	}
	started := false
	for i := range a.Authorities.Value {
		authority := &a.Authorities.Value[i]
		if authority.Variable != "db" || authority.Certificate == nil || !isWindows(authority.Certificate.SHA256) {
			return false
		}
		started = started || !authority.Early
	}
	return started
}

func isWindows(certificate [32]byte) bool {
	return certificate == windowsAuthorities[0] || certificate == windowsAuthorities[1]
}

// loader gathers what one start's events say. Boot manager and loader say most things
// once each, in two PCRs: where they differ the worse holds.
type loader struct {
	first int // event

	// Set is the worse of each of these.
	bootDebug, kernelDebug, testSigning, safeMode, winPE, integrityOff flag

	hypervisor, vsm, hvci, counter number
	elam                           place

	loaded, resumed bool // winload, winresume was given control
	failed          bool // something could not be measured, or not be started
	stranger        bool // control went elsewhere, or a module had no authority
}

// place is where a thing was said first.
type place struct {
	said  bool
	pcr   uint8
	event int
}

func (p *place) at(pcr uint8, event int) {
	if !p.said {
		*p = place{true, pcr, event}
	}
}

// flag is a thing that is set or clear, by all that was said of it.
type flag struct{ set, clear, odd place }

// number is one that was said, by the least and the greatest.
type number struct {
	place
	odd           bool // not of eight bytes
	least, utmost uint64
	all           uint64 // the bits that every one had
}

// read takes the events of a PCR up to the divider. It returns why they say nothing;
// empty when they do.
func (l *loader) read(w *working, pcr int) Reason {
	steps := w.steps(pcr)
	end := 0
	for end < len(steps) && steps[end].mark != wbclDivider {
		end++
	}
	if end == len(steps) {
		return NoSeparator
	}
	if pcr == firstLoaderPCR {
		l.first = int(steps[0].number)
	}
	for i := range steps[:end] {
		s := &steps[i]
		if s.mark == separator {
			continue // firmware's, of PCRs that it does not use
		}
		b, bound := w.body(s)
		if !bound {
			return Unbound
		}
		if !taggedEvents(b, func(id, around uint32, data []byte) {
			l.take(id, around, data, uint8(pcr), int(s.number))
		}) {
			return Unreadable
		}
	}
	return ""
}

// take takes one tagged event. Those that are not known to this package are passed over.
func (l *loader) take(id, around uint32, data []byte, pcr uint8, event int) {
	switch id {
	case sipaBootDebugging:
		l.bootDebug.take(data, 1, pcr, event)
	case sipaKernelDebug:
		l.kernelDebug.take(data, 1, pcr, event)
	case sipaHypervisorDebug:
		// Below the kernel, a debugger is one of the kernel's too; that there is none
		// does not say as much.
		if !isAll(data, 0) {
			l.kernelDebug.set.at(pcr, event)
		}
	case sipaTestSigning:
		l.testSigning.take(data, 1, pcr, event)
	case sipaSafeMode:
		l.safeMode.take(data, 1, pcr, event)
	case sipaWinPE:
		l.winPE.take(data, 1, pcr, event)
	case sipaCodeIntegrity:
		l.integrityOff.take(data, 0, pcr, event)
	case sipaHypervisor:
		l.hypervisor.take(data, pcr, event)
	case sipaVSM:
		l.vsm.take(data, pcr, event)
	case sipaHVCI:
		l.hvci.take(data, pcr, event)
	case sipaBootCounter:
		l.counter.take(data, pcr, event)
	case sipaTransferControl:
		l.transfer(data)
	case sipaELAMKeyName:
		if around == sipaELAM {
			l.elam.at(pcr, event)
		}
	case sipaNoAuthority:
		l.stranger = true
	default:
		if id&sipaClass == sipaErrors && id&sipaUnmeasured == 0 {
			l.failed = true
		}
	}
}

// transfer takes what the boot manager started.
func (l *loader) transfer(data []byte) {
	to := uint32(0)
	if len(data) == 4 {
		to = binary.LittleEndian.Uint32(data)
	}
	switch to {
	case toLoader:
		l.loaded = true
	case toResume:
		l.resumed = true
	default:
		l.stranger = true
	}
}

// take takes a BOOLEAN that is set when it is worse.
func (f *flag) take(data []byte, worse byte, pcr uint8, event int) {
	switch {
	case len(data) != 1 || data[0] > 1:
		f.odd.at(pcr, event)
	case data[0] == worse:
		f.set.at(pcr, event)
	default:
		f.clear.at(pcr, event)
	}
}

// take takes a UINT64.
func (n *number) take(data []byte, pcr uint8, event int) {
	if len(data) != 8 {
		n.odd = true
		n.at(pcr, event)
		return
	}
	v := binary.LittleEndian.Uint64(data)
	if !n.said {
		n.least, n.utmost, n.all = v, v, v
	}
	n.at(pcr, event)
	n.least, n.utmost, n.all = min(n.least, v), max(n.utmost, v), n.all&v
}

// windows concludes.
func (l *loader) windows() Windows {
	kernel := Reason("") // why nothing good is known of the kernel
	switch {
	case l.resumed:
		kernel = OfEarlierStart
	case l.failed:
		kernel = Unreadable
	case !l.loaded:
		kernel = NotLogged
	}
	v := Windows{
		BootDebug:   l.bootDebug.fact(kernel),
		KernelDebug: l.kernelDebug.fact(kernel),
		TestSigning: l.testSigning.fact(kernel),
		SafeMode:    l.safeMode.fact(kernel),
		WinPE:       l.winPE.fact(kernel),
		Resumed:     l.resumed,
		BootCounter: l.counter.fact(""),
		// No SIPA event says the TPM's own count.
		ResetCount:       unknown[uint64](NotLogged),
		HypervisorLaunch: l.hypervisor.fact(kernel),
		VBS:              l.vbs(kernel),
		ELAM:             unknown[bool](NotLogged),
	}
	v.CodeIntegrity = l.integrityOff.fact(kernel)
	v.CodeIntegrity.Value = v.CodeIntegrity.Known && !v.CodeIntegrity.Value
	v.DriverSigningOff = either(l.integrityOff.fact(kernel), v.TestSigning)
	v.HVCI = l.memoryIntegrity(v.VBS, kernel)
	switch {
	case kernel != "":
		v.ELAM.Reason = kernel
	case l.elam.said:
		v.ELAM = known(l.elam.pcr, l.elam.event, true)
	}
	return v
}

// fact is what a flag says: the worse whenever it was said, and clear only when it is
// not of another kernel and nothing else was said.
func (f *flag) fact(kernel Reason) Fact[bool] {
	switch {
	case f.set.said:
		return known(f.set.pcr, f.set.event, true)
	case kernel != "":
		return unknown[bool](kernel)
	case f.odd.said:
		return unknown[bool](Unreadable)
	case f.clear.said:
		return known(f.clear.pcr, f.clear.event, false)
	}
	return unknown[bool](NotLogged)
}

// fact is what a number says, when all say the same.
func (n *number) fact(kernel Reason) Fact[uint64] {
	switch {
	case kernel != "":
		return unknown[uint64](kernel)
	case !n.said:
		return unknown[uint64](NotLogged)
	case n.odd || n.least != n.utmost:
		return unknown[uint64](Unreadable)
	}
	return known(n.pcr, n.event, n.least)
}

// vbs: virtual secure mode needs the hypervisor, and a failure of it is measured.
func (l *loader) vbs(kernel Reason) Fact[bool] {
	switch {
	case kernel != "":
		return unknown[bool](kernel)
	case l.vsm.odd || l.hypervisor.odd:
		return unknown[bool](Unreadable)
	case l.vsm.said && l.vsm.least == 0:
		return known(l.vsm.pcr, l.vsm.event, false)
	case l.hypervisor.said && l.hypervisor.least == 0:
		return known(l.hypervisor.pcr, l.hypervisor.event, false)
	case !l.vsm.said || !l.hypervisor.said:
		return unknown[bool](NotLogged)
	}
	return known(l.vsm.pcr, l.vsm.event, true)
}

// memoryIntegrity needs virtual secure mode, where it is enforced.
func (l *loader) memoryIntegrity(vbs Fact[bool], kernel Reason) Fact[bool] {
	n := &l.hvci
	switch {
	case kernel != "" || vbs.Known && !vbs.Value:
		return vbs
	case !n.said:
		return unknown[bool](NotLogged)
	case !n.odd && n.least == 0:
		return known(n.pcr, n.event, false)
	case n.odd || n.all&hvciEnabled == 0:
		return unknown[bool](Unreadable)
	case !vbs.Known:
		return vbs
	}
	return known(n.pcr, n.event, true)
}

// either is whether one of two holds.
func either(a, b Fact[bool]) Fact[bool] {
	switch {
	case a.Known && a.Value:
		return a
	case b.Known && b.Value, a.Known:
		return b
	}
	return a
}
