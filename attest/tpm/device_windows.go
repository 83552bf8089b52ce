package tpm

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"

	"muster/attest"
)

// permissionRemedy ends every ErrPermission.
const permissionRemedy = "run as an administrator or as LocalSystem; `Get-Tpm` and the policy of blocked TPM commands say more"

// tbsResult is a TBS_RESULT (tbs.h).
type tbsResult uint32

// Results on which something depends.
const (
	tbsInternal           tbsResult = 0x80284001
	tbsInsufficientBuffer tbsResult = 0x80284005
	tbsIO                 tbsResult = 0x80284006
	tbsServiceNotRunning  tbsResult = 0x80284008
	tbsServiceStarting    tbsResult = 0x8028400b
	tbsTooManyContexts    tbsResult = 0x80284009
	tbsTooManyResources   tbsResult = 0x8028400a
	tbsCanceled           tbsResult = 0x8028400d
	tbsNotFound           tbsResult = 0x8028400f
	tbsDisabled           tbsResult = 0x80284010
	tbsNoEventLog         tbsResult = 0x80284011
	tbsAccessDenied       tbsResult = 0x80284012
	tpmCommandBlocked     tbsResult = 0x80280400
)

func (r tbsResult) Error() string {
	if r == tpmCommandBlocked {
		return `a policy blocks this TPM command (HKLM\Software\Policies\Microsoft\Tpm\BlockedCommands)`
	}
	return fmt.Sprintf("TPM Base Services answer %#08x", uint32(r))
}

// Unwrap puts results into the classes of package attest.
func (r tbsResult) Unwrap() error {
	switch r {
	case tbsAccessDenied, tpmCommandBlocked:
		return attest.ErrPermission
	case tbsNotFound, tbsDisabled, tbsNoEventLog:
		return attest.ErrAbsent
	case tbsInternal, tbsIO, tbsServiceNotRunning, tbsServiceStarting, tbsTooManyContexts, tbsTooManyResources, tbsCanceled:
		return attest.ErrTransient
	}
	return nil
}

// baseServices are the entry points of tbs.dll that are used.
type baseServices struct {
	create, close, submit, ownerAuth *windows.LazyProc
	log, oldLog                      *windows.LazyProc
}

func loadBaseServices() *baseServices {
	dll := windows.NewLazySystemDLL("tbs.dll")
	return &baseServices{
		create: dll.NewProc("Tbsi_Context_Create"), close: dll.NewProc("Tbsip_Context_Close"),
		submit: dll.NewProc("Tbsip_Submit_Command"), ownerAuth: dll.NewProc("Tbsi_Get_OwnerAuth"),
		log: dll.NewProc("Tbsi_Get_TCG_Log_Ex"), oldLog: dll.NewProc("Tbsi_Get_TCG_Log"),
	}
}

// result calls an entry point, and reports one that this Windows does not have.
// What the arguments point to stays where it is until it returns:
//
//go:uintptrescapes
func result(proc *windows.LazyProc, args ...uintptr) error {
	if err := proc.Find(); err != nil {
		return fmt.Errorf("%w: %w", attest.ErrAbsent, err)
	}
	if r, _, _ := proc.Call(args...); r != 0 {
		return tbsResult(uint32(r))
	}
	return nil
}

// device is a context of the TPM Base Services, which manage the chip's room.
type device struct {
	tbs     *baseServices
	context uintptr
}

// contextParams is TBS_CONTEXT_PARAMS2.
type contextParams struct {
	version uint32 // TBS_CONTEXT_VERSION_TWO
	flags   uint32 // includeTpm20
}

func openDevice() (*device, error) {
	d := &device{tbs: loadBaseServices()}
	params := contextParams{version: 2, flags: 1 << 2}
	err := result(d.tbs.create, uintptr(unsafe.Pointer(&params)), uintptr(unsafe.Pointer(&d.context)))
	if err != nil {
		return nil, err
	}
	return d, nil
}

func (d *device) call(command []byte) ([]byte, error) {
	const locality, normalPriority = 0, 200
	response := make([]byte, maxResponse)
	size := uint32(len(response))
	err := result(d.tbs.submit, d.context, locality, normalPriority,
		uintptr(unsafe.Pointer(unsafe.SliceData(command))), uintptr(len(command)),
		uintptr(unsafe.Pointer(unsafe.SliceData(response))), uintptr(unsafe.Pointer(&size)))
	if err != nil {
		return nil, err
	}
	if size > maxResponse {
		return nil, fmt.Errorf("TPM response says it has %d bytes", size)
	}
	return response[:size], nil
}

// Close ends the context; what it had loaded is flushed.
func (d *device) Close() error { return result(d.tbs.close, d.context) }

// endorsementAuth asks for the authorisation that Windows set, where it keeps it
// (Tbsi_Get_OwnerAuth, TBS_OWNERAUTH_TYPE_ENDORSEMENT_20).
func (d *device) endorsementAuth() ([]byte, error) {
	const endorsement20 = 12
	auth := make([]byte, 256)
	size := uint32(len(auth))
	err := result(d.tbs.ownerAuth, d.context, endorsement20,
		uintptr(unsafe.Pointer(unsafe.SliceData(auth))), uintptr(unsafe.Pointer(&size)))
	if err != nil {
		return nil, err
	}
	if int(size) > len(auth) {
		return nil, errors.New("owner authorisation does not fit")
	}
	return auth[:size], nil
}

// logKind is one of the logs that Windows keeps (tbs.h, TBS_TCGLOG_*).
type logKind uint32

// After Fast Startup or hibernation the PCRs hold what led to the resume loader:
// the current log is then that of the resume, and no PCR has what the log of the
// boot before it tells.
const (
	currentLog logKind = 0 // what the PCRs hold now
	bootedLog  logKind = 2 // of the last start that was no resume
	resumedLog logKind = 3 // of the last resume
)

// bootLog returns the log of what the PCRs hold. Windows before 10 has but one log.
func (d *device) bootLog() ([]byte, error) {
	if d.tbs.log.Find() == nil {
		return d.keptLog(currentLog)
	}
	return grown(func(buffer *byte, size *uint32) error {
		return result(d.tbs.oldLog, d.context, uintptr(unsafe.Pointer(buffer)), uintptr(unsafe.Pointer(size)))
	})
}

// keptLog asks for one of the logs (Tbsi_Get_TCG_Log_Ex).
func (d *device) keptLog(kind logKind) ([]byte, error) {
	return grown(func(buffer *byte, size *uint32) error {
		return result(d.tbs.log, uintptr(kind), uintptr(unsafe.Pointer(buffer)), uintptr(unsafe.Pointer(size)))
	})
}

// grown asks for the size of a log, then for the log; again when it has grown in
// between.
func grown(ask func(buffer *byte, size *uint32) error) ([]byte, error) {
	const tries = 4
	var size uint32
	err := ask(nil, &size)
	for range tries {
		if err != nil && !errors.Is(err, tbsInsufficientBuffer) {
			return nil, err
		}
		if size == 0 || size > attest.MaxBootLog {
			return nil, fmt.Errorf("system says that the log has %d bytes", size)
		}
		log := make([]byte, size)
		if err = ask(&log[0], &size); err == nil && size != 0 {
			return log[:min(int(size), len(log))], nil
		}
	}
	return nil, fmt.Errorf("log changes while it is read: %w", errors.Join(attest.ErrTransient, err))
}

func reachOwn() (machine, error) {
	d, err := openDevice()
	if err != nil {
		return machine{}, err
	}
	return machine{
		link: &driverLink{driver: d}, shared: true, bootLog: d.bootLog, endorsementAuth: d.endorsementAuth,
	}, nil
}

func reachDevice(string) (machine, error) {
	return machine{}, errors.New("no TPM device files on Windows: use auto")
}

// isBusy tells errors after which the same command may be sent again.
func isBusy(err error) bool {
	var busy busyError
	return errors.As(err, &busy) || errors.Is(err, tbsServiceStarting)
}

// isGone tells that nothing is, or listens, at the address.
func isGone(err error) bool { return errors.Is(err, syscall.Errno(windows.WSAECONNREFUSED)) }

// isDriverTrouble tells that the driver lost touch with the chip for once; here
// tbsResult says so itself.
func isDriverTrouble(error) bool { return false }
