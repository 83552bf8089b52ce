package reference

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// BundleFile is a file of certificates, and where it stood: a name for people.
type BundleFile struct {
	Name string `json:"name"`
	Data []byte `json:"data"`
}

// EKFinding says what became of one certificate, or of one file, of a bundle.
type EKFinding struct {
	File    string `json:"file"`
	Subject string `json:"subject,omitempty"`
	SHA256  string `json:"sha256,omitempty"` // of the certificate
	Kind    EKKind `json:"kind,omitempty"`
	Root    bool   `json:"root,omitempty"`
	New     bool   `json:"new,omitempty"`
	Skipped string `json:"skipped,omitempty"` // why; it is not in the pack then
}

// Limits of a bundle.
const (
	maxBundle      = 16 << 20
	maxBundleFiles = 16384
)

// ReadBundle reads a file, or every file below a folder. Symbolic links below the
// folder are not followed, and nothing outside of it is read.
func ReadBundle(name string) ([]BundleFile, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Mode().IsRegular() {
		b, err := readUpTo(os.DirFS(filepath.Dir(name)), filepath.Base(name), maxBundle)
		return []BundleFile{{Name: filepath.Base(name), Data: b}}, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s: neither a file nor a folder", name)
	}
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return readFolder(root.FS())
}

func readFolder(folder fs.FS) (files []BundleFile, err error) {
	left := int64(maxBundle)
	err = fs.WalkDir(folder, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err // of anything else, links too, there is nothing to read
		}
		if len(files) == maxBundleFiles {
			return fmt.Errorf("the folder has more than %d files", maxBundleFiles)
		}
		b, err := readUpTo(folder, name, left)
		if err != nil {
			return err
		}
		left -= int64(len(b))
		files = append(files, BundleFile{Name: name, Data: b})
		return nil
	})
	return files, err
}

func readUpTo(folder fs.FS, name string, most int64) ([]byte, error) {
	f, err := folder.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s: more than %d bytes together", name, maxBundle)
	}
	return b, err
}

var errNoCA = errors.New("the bundle holds no CA's certificate that can be used")

// Import adds the certificates of a bundle to the pack: PEM, DER, and cabinets of
// these. One that cannot be used is skipped, and its finding says why: bundles of
// all vendors have some that Go does not read. A bundle of which nothing can be
// used is an error.
func (p *EKPack) Import(files []BundleFile, virtual bool) ([]EKFinding, error) {
	i := &importer{pack: p, virtual: virtual}
	for _, f := range files {
		if !bytes.HasPrefix(f.Data, []byte("MSCF")) {
			i.file(f)
			continue
		}
		inside, err := readCab(f.Data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", quote(f.Name), err)
		}
		for _, one := range inside {
			i.file(one)
		}
	}
	if i.used == 0 {
		return i.findings, errNoCA
	}
	if len(p.Hardware)+len(p.Virtual) > maxEKCertificates {
		return i.findings, fmt.Errorf("with these there are more than %d certificates", maxEKCertificates)
	}
	return i.findings, nil
}

type importer struct {
	pack     *EKPack
	virtual  bool
	findings []EKFinding
	used     int
}

func (i *importer) file(f BundleFile) {
	name := f.Name
	if !showable(name) || len(name) > maxName {
		name = quote(name)
	}
	rest, n := f.Data, 0
	for block, after := pem.Decode(rest); block != nil; block, after = pem.Decode(rest) {
		if n++; block.Type == "CERTIFICATE" {
			i.certificate(name, block.Bytes)
		} else {
			i.skip(name, nil, "block "+quote(block.Type)+" is no CERTIFICATE")
		}
		rest = after
	}
	switch {
	case bytes.Contains(rest, []byte("-----BEGIN")):
		i.skip(name, nil, "it is not whole PEM")
	case n > 0:
	case len(f.Data) > 0 && f.Data[0] == 0x30:
		i.certificate(name, f.Data)
	case isCertificateName(name):
		i.skip(name, nil, "it holds neither PEM nor DER")
	} // what else comes beside, as scripts and lists, is passed over
}

func isCertificateName(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".cer", ".crt", ".der", ".pem":
		return true
	}
	return false
}

func (i *importer) skip(file string, der []byte, why string) {
	f := EKFinding{File: file, Skipped: why}
	if der != nil {
		f.SHA256 = sumText(der)
	}
	i.findings = append(i.findings, f)
}

func sumText(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

func (i *importer) certificate(file string, der []byte) {
	c, err := readCA(der)
	if err != nil {
		i.skip(file, der, err.Error())
		return
	}
	if i.pack.holds(der, !i.virtual) {
		i.skip(file, der, "it is among those of the other kind, hardware or virtual, already")
		return
	}
	i.used++
	i.findings = append(i.findings, EKFinding{
		File: file, Subject: subject(c), SHA256: sumText(der), Kind: knownKind(der), Root: isRoot(c), New: i.pack.add(der, i.virtual),
	})
}

// subject is a certificate's name, fit for a terminal.
func subject(c *x509.Certificate) string {
	text := c.Subject.String()
	if !showable(text) || len(text) > maxText {
		return quote(text)
	}
	return text
}
