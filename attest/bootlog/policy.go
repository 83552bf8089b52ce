package bootlog

// secureBootPCR holds the Secure Boot policy (PFP §3.3.4.8).
const secureBootPCR = 7

// maxAuthorities bounds how many authorities one start can have had.
const maxAuthorities = 256

// What firmware says by an EV_EFI_ACTION in PCR 7 (PFP §10.4.4).
const (
	debugAction  = "UEFI Debug Mode"
	dmaOffAction = "DMA Protection Disabled"
)

// policy is the reading of PCR 7.
type policy struct {
	w *working
	a *Account

	early       []Authority // before the separator
	authorities []Authority // after it
	odd         bool        // firmware measured an authority that cannot be read
	mokOff      bool        // shim's verification was turned off
	mokOffAt    int
	byShim      bool // shim vouched for something
	// candidates are certificates that shim vouched with: its MokList may be one.
	candidates [][]byte
}

// readPolicy reads PCR 7: what firmware states before the separator, where the first
// statement of each thing counts, and what vouched for programs after it.
func readPolicy(w *working, a *Account) *policy {
	p := &policy{w: w, a: a}
	at, reason := w.firmware(secureBootPCR)
	p.unknown(reason)
	if reason != "" {
		return p
	}
	steps := w.steps(secureBootPCR)
	opaque := p.stated(steps[:at])
	if !opaque && !a.UEFIDebug.Known {
		// Only when all was read it is sure that nothing of this was said.
		a.UEFIDebug = known(secureBootPCR, int(steps[at].number), false)
	}
	left := p.vouched(steps[at+1:])
	switch {
	case opaque:
		left = Unbound
	case left == "" && (p.odd || len(p.early)+len(p.authorities) > maxAuthorities):
		left = Unreadable
	}
	p.conclude(left, int(steps[at].number))
	return p
}

// unknown gives every fact of PCR 7 a reason not to be known.
func (p *policy) unknown(r Reason) {
	a := p.a
	a.SecureBoot.Reason, a.UEFIDebug.Reason, a.DMAProtection.Reason = r, r, r
	a.PK.Reason, a.KEK.Reason, a.DB.Reason, a.DBX.Reason = r, r, r, r
	a.Authorities.Reason, a.SBAT.Reason, a.MOKOff.Reason = r, r, r
}

// stated reads what firmware says. It ends at the first body that is not bound,
// since what comes after it may not be the first of its kind; whatever was not said
// until then is not known for that reason.
func (p *policy) stated(steps []step) (opaque bool) {
	p.unknown(NotLogged)
	for i := range steps {
		c, bound := p.w.content(&steps[i])
		if !bound {
			p.hidden()
			return true
		}
		p.statement(c, int(steps[i].number))
	}
	return false
}

// hidden marks what was not said before an opaque event.
func (p *policy) hidden() {
	a := p.a
	hide(&a.SecureBoot)
	hide(&a.UEFIDebug)
	hide(&a.DMAProtection)
	hide(&a.PK)
	hide(&a.KEK)
	hide(&a.DB)
	hide(&a.DBX)
}

func hide[T any](f *Fact[T]) {
	if f.Reason == NotLogged {
		f.Reason = Unbound
	}
}

// open tells whether nothing was said yet of a fact: later statements do not count,
// even when the first could not be read.
func open[T any](f *Fact[T]) bool { return f.Reason == NotLogged }

// statement takes one bound event of firmware.
func (p *policy) statement(c *content, event int) {
	a, v := p.a, &c.variable
	switch {
	case isText(c.body, debugAction) && open(&a.UEFIDebug):
		a.UEFIDebug = known(secureBootPCR, event, true)
	case isText(c.body, dmaOffAction) && open(&a.DMAProtection):
		a.DMAProtection = known(secureBootPCR, event, false)
	case c.shape == noVariable:
	case v.is(globalVendor, "SecureBoot") && open(&a.SecureBoot):
		a.SecureBoot = readFlag(v.data, event)
	case v.is(globalVendor, "PK"):
		firmwareKeys(&a.PK, c, event)
	case v.is(globalVendor, "KEK"):
		firmwareKeys(&a.KEK, c, event)
	case v.is(securityVendor, "dbx") && open(&a.DBX):
		a.DBX.Reason = Unreadable
		if c.shape == listData {
			a.DBX = known(secureBootPCR, event, c.revocations())
		}
	case c.shape == authorityData && (v.vendor == securityVendor || c.authority.Certificate != nil):
		// Firmware measures the whole of db, and, under the same name, the one entry
		// that vouched for a driver.
		p.early = vouch(p.early, c, event, true)
	case v.is(securityVendor, "db"):
		firmwareKeys(&a.DB, c, event)
		// What is no list may have vouched for a driver.
		p.odd = p.odd || c.shape != listData
	}
}

// firmwareKeys takes a key variable, unless one of its name was there before.
func firmwareKeys(f *Fact[Keys], c *content, event int) {
	if !open(f) {
		return
	}
	f.Reason = Unreadable
	if c.shape == listData {
		*f = known(secureBootPCR, event, c.keys)
	}
}

// vouch adds an authority, up to one more than any start has.
func vouch(to []Authority, c *content, event int, early bool) []Authority {
	if len(to) > maxAuthorities {
		return to
	}
	authority := c.authority
	authority.Event, authority.Early = event, early
	return append(to, authority)
}

// vouched reads what came after the separator and returns why that is not all
// understood; empty when it is.
func (p *policy) vouched(steps []step) (left Reason) {
	for i := range steps {
		s := &steps[i]
		if s.mark != noMark {
			continue // a second separator says nothing more
		}
		c, bound := p.w.content(s)
		switch {
		case !bound:
			hide(&p.a.SBAT)
			left = Unbound
		case !p.understood(c, int(s.number)) && left == "":
			left = Unreadable
		}
	}
	return left
}

// understood takes one bound event from after the separator: shim's own state, or an
// authority.
func (p *policy) understood(c *content, event int) bool {
	v := &c.variable
	switch {
	case c.shape == noVariable:
		return false
	case v.is(shimVendor, "SbatLevel"):
		p.sbat(v, event)
		return true
	case v.is(shimVendor, "MokSBState"):
		if !p.mokOff && !isAll(v.data, 0) {
			p.mokOff, p.mokOffAt = true, event
		}
		return true
	case v.is(shimVendor, "MokListTrusted"):
		return true
	case c.shape != authorityData:
		return false
	}
	if v.vendor == shimVendor || v.is(securityVendor, "vendor_db") {
		p.byShim = true
		if der := certificateOf(v.data); der != nil && len(p.candidates) < maxOwnerTries {
			p.candidates = append(p.candidates, der)
		}
	}
	p.authorities = vouch(p.authorities, c, event, false)
	return true
}

// sbat takes shim's level. shim measures it before it verifies anything: what comes
// after shim's own authorities is not shim's.
func (p *policy) sbat(v *variable, event int) {
	if !open(&p.a.SBAT) || p.byShim {
		return
	}
	p.a.SBAT.Reason = Unreadable
	if text, ok := readText(v.data); ok {
		p.a.SBAT = known(secureBootPCR, event, text)
	}
}

// conclude states what holds for all events after the separator.
func (p *policy) conclude(left Reason, at int) {
	a := p.a
	if p.mokOff {
		a.MOKOff = known(secureBootPCR, p.mokOffAt, true)
	}
	if left != "" {
		a.Authorities.Reason = left
		if !p.mokOff {
			a.MOKOff.Reason = left
		}
		return
	}
	all := append(p.early, p.authorities...)
	if len(all) > 0 {
		at = all[0].Event
	}
	a.Authorities = known(secureBootPCR, at, all)
	if !p.mokOff {
		a.MOKOff = known(secureBootPCR, at, false)
	}
}

// readFlag reads a variable of one byte, 0 or 1.
func readFlag(data []byte, event int) Fact[bool] {
	if len(data) != 1 || data[0] > 1 {
		return Fact[bool]{Reason: Unreadable}
	}
	return known(secureBootPCR, event, data[0] == 1)
}
