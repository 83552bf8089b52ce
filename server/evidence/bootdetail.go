package evidence

import (
	"encoding/hex"
	"time"

	"muster/attest/bootlog"
	"muster/server/reference"
)

// bound says what binds a detail, or why nothing does.
type bound struct {
	Known  bool   `json:"known"`
	Reason string `json:"reason,omitempty"` // why not known
	// PCR and Event, its number in the log from 0, bind it; absent where it is known
	// because nothing was measured.
	PCR   *uint8 `json:"pcr,omitempty"`
	Event *int   `json:"event,omitempty"`
}

// bootDetails are the facts behind the claims.
type bootDetails struct {
	SecureBoot    flagDetail         `json:"secure_boot"`
	PK            keysDetail         `json:"pk"`
	KEK           keysDetail         `json:"kek"`
	DB            keysDetail         `json:"db"`
	DBX           dbxDetail          `json:"dbx"`
	Authorities   authoritiesDetail  `json:"authorities"`
	SBAT          sbatDetail         `json:"sbat"`
	MOK           keysDetail         `json:"mok"`
	MOKOff        flagDetail         `json:"mok_off"`
	Applications  applicationsDetail `json:"applications"`
	CommandLines  linesDetail        `json:"command_lines"`
	UEFIDebug     flagDetail         `json:"uefi_debug"`
	DMAProtection flagDetail         `json:"dma_protection"`
	Windows       windowsDetail      `json:"windows"`
}

type flagDetail struct {
	bound
	Value bool `json:"value"`
}

type numberDetail struct {
	bound
	Value uint64 `json:"value"`
}

type certificateDetail struct {
	SHA256   string    `json:"sha256"`
	Subject  string    `json:"subject"`
	Issuer   string    `json:"issuer"`
	NotAfter time.Time `json:"not_after"`
	// Known is what the references call it; TestKey why nobody may use it.
	Known   string `json:"known_as,omitempty"`
	TestKey string `json:"test_key,omitempty"`
}

type keysDetail struct {
	bound
	SHA256       string              `json:"sha256,omitempty"` // of the variable
	Certificates []certificateDetail `json:"certificates,omitempty"`
	Hashes       int                 `json:"hashes,omitempty"` // of programs
	Others       int                 `json:"others,omitempty"` // of other kinds, or unreadable
}

type dbxDetail struct {
	bound
	SHA256       string              `json:"sha256,omitempty"`
	Entries      int                 `json:"entries"`
	Certificates []certificateDetail `json:"certificates,omitempty"`
	Level        string              `json:"level,omitempty"` // the newest that it has wholly; empty: none
	Newest       bool                `json:"newest,omitempty"`
}

type sbatDetail struct {
	bound
	Text   string `json:"text,omitempty"`
	Level  string `json:"level,omitempty"`
	Newest bool   `json:"newest,omitempty"`
}

type authoritiesDetail struct {
	bound
	List []authorityDetail `json:"list,omitempty"`
}

type authorityDetail struct {
	Event       int                `json:"event"`
	Variable    string             `json:"variable"`
	Early       bool               `json:"early,omitempty"`
	Certificate *certificateDetail `json:"certificate,omitempty"`
	Hash        string             `json:"hash,omitempty"`
}

type applicationsDetail struct {
	bound
	List []applicationDetail `json:"list,omitempty"`
}

// applicationDetail is one program; its path is for people, since nothing ties it
// to the digest.
type applicationDetail struct {
	Event  int    `json:"event"`
	Digest string `json:"digest"`
	Path   string `json:"path,omitempty"`
	Early  bool   `json:"early,omitempty"`
}

type linesDetail struct {
	bound
	List []lineDetail `json:"list,omitempty"`
}

type lineDetail struct {
	PCR   uint8  `json:"pcr"`
	Event int    `json:"event"`
	Text  string `json:"text"`
}

type windowsDetail struct {
	bound
	BootDebug        flagDetail   `json:"boot_debug"`
	KernelDebug      flagDetail   `json:"kernel_debug"`
	TestSigning      flagDetail   `json:"test_signing"`
	SafeMode         flagDetail   `json:"safe_mode"`
	WinPE            flagDetail   `json:"winpe"`
	CodeIntegrity    flagDetail   `json:"code_integrity"`
	HypervisorLaunch numberDetail `json:"hypervisor_launch"`
	VBS              flagDetail   `json:"vbs"`
	HVCI             flagDetail   `json:"hvci"`
	DriverSigningOff flagDetail   `json:"driver_signing_off"`
	ELAM             flagDetail   `json:"elam"`
	Resumed          bool         `json:"resumed"`
	BootCounter      numberDetail `json:"boot_counter"`
	ResetCount       numberDetail `json:"reset_count"`
}

func boundBy[T any](f *bootlog.Fact[T]) bound {
	if !f.Known {
		return bound{Reason: string(f.Reason)}
	}
	if f.Event == 0 { // the log's header, or none
		return bound{Known: true}
	}
	return bound{Known: true, PCR: &f.PCR, Event: &f.Event}
}

func flagOf(f bootlog.Fact[bool]) flagDetail {
	return flagDetail{boundBy(&f), f.Known && f.Value}
}

func numberOf(f bootlog.Fact[uint64]) numberDetail {
	d := numberDetail{bound: boundBy(&f)}
	if f.Known {
		d.Value = f.Value
	}
	return d
}

// detailsOf writes down the facts of an account. What is not known stays empty.
func detailsOf(a *bootlog.Account, refs *reference.Boot) bootDetails {
	return bootDetails{
		SecureBoot: flagOf(a.SecureBoot),
		PK:         keysOf(&a.PK, refs), KEK: keysOf(&a.KEK, refs), DB: keysOf(&a.DB, refs), MOK: keysOf(&a.MOK, refs),
		DBX: dbxOf(&a.DBX, refs), SBAT: sbatOf(&a.SBAT, refs),
		Authorities: authoritiesOf(&a.Authorities, refs), Applications: applicationsOf(&a.Applications),
		CommandLines: linesOf(&a.CommandLines),
		MOKOff:       flagOf(a.MOKOff), UEFIDebug: flagOf(a.UEFIDebug), DMAProtection: flagOf(a.DMAProtection),
		Windows: windowsOf(&a.Windows),
	}
}

func certificatesOf(list []*bootlog.Certificate, refs *reference.Boot) (out []certificateDetail) {
	for _, c := range list {
		out = append(out, certificateOf(c, refs))
	}
	return out
}

func certificateOf(c *bootlog.Certificate, refs *reference.Boot) certificateDetail {
	d := certificateDetail{SHA256: hex.EncodeToString(c.SHA256[:]), Subject: c.Subject, Issuer: c.Issuer, NotAfter: c.NotAfter}
	if a, ok := refs.Authority(c.SHA256); ok {
		d.Known = a.Name
	}
	if k, ok := refs.Test(c.SHA256, c.Subject); ok {
		d.TestKey = k.Source
		if d.TestKey == "" {
			d.TestKey = "yes"
		}
	}
	return d
}

func keysOf(f *bootlog.Fact[bootlog.Keys], refs *reference.Boot) keysDetail {
	d := keysDetail{bound: boundBy(f)}
	if f.Known {
		v := &f.Value
		d.SHA256, d.Hashes, d.Others = hex.EncodeToString(v.SHA256[:]), v.Hashes, v.Others
		d.Certificates = certificatesOf(v.Certificates, refs)
	}
	return d
}

func dbxOf(f *bootlog.Fact[bootlog.Revocations], refs *reference.Boot) dbxDetail {
	d := dbxDetail{bound: boundBy(f)}
	if f.Known {
		v := &f.Value
		d.SHA256, d.Entries = hex.EncodeToString(v.SHA256[:]), v.Entries
		d.Certificates = certificatesOf(v.Certificates, refs)
		if level, newest, ok := refs.DBXLevelOf(v.Hashes()); ok {
			d.Level, d.Newest = level.Name, newest
		}
	}
	return d
}

func sbatOf(f *bootlog.Fact[string], refs *reference.Boot) sbatDetail {
	d := sbatDetail{bound: boundBy(f)}
	if f.Known {
		d.Text = f.Value
		if level, newest, ok := refs.SBATLevelOf(f.Value); ok {
			d.Level, d.Newest = level.Name, newest
		}
	}
	return d
}

func authoritiesOf(f *bootlog.Fact[[]bootlog.Authority], refs *reference.Boot) authoritiesDetail {
	d := authoritiesDetail{bound: boundBy(f)}
	if !f.Known {
		return d
	}
	for i := range f.Value {
		a := &f.Value[i]
		one := authorityDetail{Event: a.Event, Variable: a.Variable, Early: a.Early}
		if a.Certificate != nil {
			c := certificateOf(a.Certificate, refs)
			one.Certificate = &c
		} else {
			one.Hash = hex.EncodeToString(a.Hash[:])
		}
		d.List = append(d.List, one)
	}
	return d
}

func applicationsOf(f *bootlog.Fact[[]bootlog.Application]) applicationsDetail {
	d := applicationsDetail{bound: boundBy(f)}
	if f.Known {
		for _, a := range f.Value {
			d.List = append(d.List, applicationDetail{a.Event, hex.EncodeToString(a.Digest), a.Path, a.Early})
		}
	}
	return d
}

func linesOf(f *bootlog.Fact[[]bootlog.CommandLine]) linesDetail {
	d := linesDetail{bound: boundBy(f)}
	if f.Known {
		for _, l := range f.Value {
			d.List = append(d.List, lineDetail{l.PCR, l.Event, l.Text})
		}
	}
	return d
}

func windowsOf(f *bootlog.Fact[bootlog.Windows]) windowsDetail {
	d := windowsDetail{bound: boundBy(f)}
	if !f.Known {
		return d
	}
	w := &f.Value
	d.BootDebug, d.KernelDebug, d.TestSigning = flagOf(w.BootDebug), flagOf(w.KernelDebug), flagOf(w.TestSigning)
	d.SafeMode, d.WinPE, d.CodeIntegrity = flagOf(w.SafeMode), flagOf(w.WinPE), flagOf(w.CodeIntegrity)
	d.HypervisorLaunch, d.VBS, d.HVCI = numberOf(w.HypervisorLaunch), flagOf(w.VBS), flagOf(w.HVCI)
	d.DriverSigningOff, d.ELAM, d.Resumed = flagOf(w.DriverSigningOff), flagOf(w.ELAM), w.Resumed
	d.BootCounter, d.ResetCount = numberOf(w.BootCounter), numberOf(w.ResetCount)
	return d
}

// because gives every fact one reason: nothing bound any.
func (d *bootDetails) because(reason string) {
	for _, b := range []*bound{
		&d.SecureBoot.bound, &d.PK.bound, &d.KEK.bound, &d.DB.bound, &d.DBX.bound, &d.Authorities.bound, &d.SBAT.bound,
		&d.MOK.bound, &d.MOKOff.bound, &d.Applications.bound, &d.CommandLines.bound, &d.UEFIDebug.bound,
		&d.DMAProtection.bound, &d.Windows.bound,
	} {
		*b = bound{Reason: reason}
	}
}
