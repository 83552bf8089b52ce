package bootlog

import "time"

// Reason says why a fact is not known: stable lower-case words with hyphens.
type Reason string

// Why a fact is not known.
const (
	// NotReplayed: the PCR's value was not given, or the log does not explain it.
	NotReplayed Reason = "pcr-not-explained"
	// NotLogged: nothing in the log says it.
	NotLogged Reason = "not-logged"
	// Unbound: a body that should say it does not hash to its digest, or an event
	// before it is opaque, so that "the first" cannot be told.
	Unbound Reason = "not-bound"
	// NoSeparator: the log does not say where firmware ended.
	NoSeparator Reason = "no-separator"
	// FirmwareError: firmware ended with an error separator (PFP §3.3.4.1).
	FirmwareError Reason = "firmware-error"
	// Unreadable: the bytes are bound and are not what they should be.
	Unreadable Reason = "unreadable"
	// Foreign: Windows events that were measured by a chain which is not Microsoft's
	// alone.
	Foreign Reason = "authorities-not-windows"
)

// Fact is one statement of the log with the event that binds it. The zero value
// is not known.
type Fact[T any] struct {
	Known  bool
	Reason Reason // why not known; empty otherwise
	// PCR and Event (its number in the log, from 0) bind it; for a fact about many
	// events, the first; for one that nothing was said, the separator.
	PCR   uint8
	Event int
	Value T // of meaning only when Known
}

// Account is what a log says, as far as PCR values confirm it.
type Account struct {
	Bank Bank
	PCRs [PCRCount]Status
	// Untouched tells of each PCR that its value is one that it starts with: nothing was
	// extended into it, whatever the log says.
	Untouched [PCRCount]bool

	// SecureBoot: firmware enforced Secure Boot (PCR 7, UEFI 2.10 §32.3).
	SecureBoot Fact[bool]
	// PK, KEK and DB are firmware's key variables at this start (PCR 7).
	PK, KEK, DB Fact[Keys]
	// DBX is what firmware refuses (PCR 7).
	DBX Fact[Revocations]
	// Authorities are what vouched for the programs that were started, in order
	// (PCR 7): known only when every event of firmware is bound and every one after
	// the separator was understood, so that none is missing. Programs that ran later
	// may have added to them. It is empty when nothing was verified: all of an empty
	// list holds and means nothing.
	Authorities Fact[[]Authority]
	// SBAT is shim's revocation level, the text of SbatLevel (PCR 7): the first after
	// the separator, before anything that shim vouched for. It says something only
	// where the authorities say that shim was started; where shim measured none (it
	// is older than 15.3), a program that ran later could have.
	SBAT Fact[string]
	// MOK is all that shim's MokList held: what the machine's owner enrolled, and the
	// certificate of shim's own maker, which shim puts first (PCR 14). shim logs only
	// its hash; so it is known when it was the entry that stands for none, or the one
	// certificate of a shim that used it. It is known and empty when PCR 14 is empty,
	// or begins with something else that is bound: then shim measured none.
	MOK Fact[Keys]
	// MOKOff: the machine's owner turned shim's verification off (shim's MokSBState,
	// PCR 7). It is known and false under the condition of Authorities.
	MOKOff Fact[bool]
	// Applications are the programs that firmware and boot loaders started, in order
	// (PCR 4): known only when the PCR is explained and has a separator.
	Applications Fact[[]Application]
	// CommandLines are the texts that GRUB (commands and kernel lines alike; what
	// tells them apart is not measured), systemd-boot and systemd's stub measured
	// (PCR 8 and 12): known only when every event of both is bound, so that none is
	// missing. Programs that ran later may have added to them, and a kernel may have
	// been given a line that nobody measured: they are for people, and for what must
	// not stand there.
	CommandLines Fact[[]CommandLine]
	// UEFIDebug: firmware says that a debugger may be attached (PCR 7). It is known
	// and false when every event of firmware is bound and none says so.
	UEFIDebug Fact[bool]
	// DMAProtection: false when firmware says that it was turned off (PCR 7); known
	// only then, since nothing is measured when it is on. NotLogged: every event of
	// firmware is bound and none says so; any other reason: it may have said so.
	DMAProtection Fact[bool]
	// Windows is what Windows' loader measured (PCR 11 to 14); not known without it.
	Windows Fact[Windows]
}

// Keys is the content of a key variable (EFI_SIGNATURE_LISTs, UEFI 2.10 §32.4.1).
type Keys struct {
	SHA256       [32]byte // of the variable's data
	Certificates []*Certificate
	Hashes       int // entries that are hashes of programs
	// Others are entries of other kinds, X.509 that cannot be read, and X.509 beyond
	// the 64 that are read of one log.
	Others int
}

// Certificate is one X.509 certificate of a log. Parsed ones are shared by
// [Certificates]; they are not to be changed.
type Certificate struct {
	SHA256   [32]byte // of the DER
	Subject  string   // RFC 2253
	Issuer   string
	NotAfter time.Time
}

// Revocations is the content of dbx. Hashes yields the SHA-256 entries.
type Revocations struct {
	SHA256       [32]byte // of the variable's data
	Entries      int      // entries of any kind
	Certificates []*Certificate

	data []byte // the signature lists, checked; it may point into the log
}

// Authority vouched for a program: a certificate, or the program's own hash.
type Authority struct {
	Event       int
	Variable    string       // where it stands: db, Shim, MokList, MokListRT, vendor_db ...
	Early       bool         // before the separator: drivers that firmware loaded
	Certificate *Certificate // nil for a hash
	Hash        [32]byte     // of the program; zero with a certificate
}

// Application is a program that was started, by its digest in the bank. Path is
// not bound to it beyond the event's own body, whose digest is the program's: it
// is for people.
type Application struct {
	Event  int
	Digest []byte
	Path   string
	Early  bool // before the separator of PCR 4
}

// CommandLine is one that was measured.
type CommandLine struct {
	Event int
	PCR   uint8
	// Text is what was measured, without GRUB's prefix: at most its first
	// MaxCommandLine bytes, as UTF-8; bytes that are none are question marks.
	Text string
}

// Windows is what the SIPA events of one start say (wbcl.h of the Windows SDK).
// Each is known only when it was logged, bound and before the separator.
type Windows struct {
	BootDebug, KernelDebug  Fact[bool]
	TestSigning             Fact[bool]
	SafeMode, WinPE         Fact[bool]
	CodeIntegrity           Fact[bool]
	HypervisorLaunch        Fact[uint64] // SIPAEVENT_HYPERVISOR_LAUNCH_TYPE; 0: none
	VBS                     Fact[bool]   // virtual secure mode was started
	HVCI                    Fact[bool]   // memory integrity is enforced
	DriverSigningOff        Fact[bool]
	ELAM                    Fact[bool] // an early-launch driver was measured
	Resumed                 bool       // winresume was started: Fast Startup or hibernation
	BootCounter, ResetCount Fact[uint64]
}
