package platform

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/windows"
)

// makePrivateDir makes dir and its missing parents with an access list that
// takes nothing from above and is handed down to what is made inside.
func makePrivateDir(dir string) error {
	if _, err := os.Lstat(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if parent := filepath.Dir(dir); parent != dir {
		if err := makePrivateDir(parent); err != nil {
			return err
		}
	}
	own, err := ownSID()
	if err != nil {
		return err
	}
	const full = "(A;OICI;FA;;;"
	sd, err := windows.SecurityDescriptorFromString("D:P" + full + "SY)" + full + "BA)" + full + own + ")")
	if err != nil {
		return fmt.Errorf("make access list: %w", err)
	}
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return err
	}
	attributes := windows.SecurityAttributes{SecurityDescriptor: sd}
	attributes.Length = uint32(unsafe.Sizeof(attributes))
	if err := windows.CreateDirectory(name, &attributes); err != nil {
		return &fs.PathError{Op: "mkdir", Path: dir, Err: err}
	}
	return nil
}

func checkPrivateDir(dir string) error {
	f, err := openChecked(dir, true)
	if err != nil {
		return err
	}
	return f.Close()
}

// createPrivate makes a new file with an unused name. It inherits the access
// list of its folder, which the caller has checked.
func createPrivate(dir, base string) (*os.File, error) {
	return os.CreateTemp(dir, "."+base+".*")
}

func openPrivate(path string) (*os.File, error) { return openChecked(path, false) }

// openChecked opens a file or folder itself, never what a link names, and
// checks its kind and security on the open handle.
func openChecked(path string, dir bool) (*os.File, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	const share = windows.FILE_SHARE_READ | windows.FILE_SHARE_WRITE | windows.FILE_SHARE_DELETE
	const flags = windows.FILE_FLAG_OPEN_REPARSE_POINT | windows.FILE_FLAG_BACKUP_SEMANTICS
	h, err := windows.CreateFile(name, windows.GENERIC_READ, share, nil, windows.OPEN_EXISTING, flags, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(h), path)
	if err := checkHandle(h, path, dir); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func checkHandle(h windows.Handle, path string, dir bool) error {
	var info windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(h, &info); err != nil {
		return fmt.Errorf("look at %s: %w", path, err)
	}
	isDir := info.FileAttributes&windows.FILE_ATTRIBUTE_DIRECTORY != 0
	if isDir != dir || info.FileAttributes&windows.FILE_ATTRIBUTE_REPARSE_POINT != 0 {
		return fmt.Errorf("%s is a link or of the wrong kind: %w: move it away", path, ErrNotPrivate)
	}
	const what = windows.OWNER_SECURITY_INFORMATION | windows.DACL_SECURITY_INFORMATION
	sd, err := windows.GetSecurityInfo(h, windows.SE_FILE_OBJECT, what)
	if err != nil {
		return fmt.Errorf("read the access list of %s: %w", path, err)
	}
	own, err := ownSID()
	if err != nil {
		return err
	}
	if err := sddlPrivate(sd.String(), own, sddlAlias(own)); err != nil {
		return fmt.Errorf("%s: %w: remove the other accounts with icacls, or delete it", path, err)
	}
	return nil
}

// ownSID returns the account of this process, S-1-5-...
func ownSID() (string, error) {
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return "", fmt.Errorf("look up this account: %w", err)
	}
	return user.User.Sid.String(), nil
}

// sddlAlias returns how the system itself writes an account: two letters for
// some (LA for the built-in administrator).
func sddlAlias(sid string) string {
	sd, err := windows.SecurityDescriptorFromString("O:" + sid + "D:")
	if err != nil {
		return sid
	}
	alias, _, _ := sddlParts(sd.String())
	return alias
}

// syncDir does nothing: NTFS journals a rename, and no call syncs a folder.
func syncDir(string) error { return nil }
