package reference

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// makeCab builds a cabinet with one folder.
func makeCab(t testing.TB, mszip bool, files ...BundleFile) []byte {
	t.Helper()
	var data, entries, blocks bytes.Buffer
	for _, f := range files {
		entries.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(f.Data))))
		entries.Write(binary.LittleEndian.AppendUint32(nil, uint32(data.Len())))
		entries.Write(make([]byte, 8)) // folder 0, date, time, attributes
		entries.WriteString(strings.ReplaceAll(f.Name, "/", `\`) + "\x00")
		data.Write(f.Data)
	}
	count, method := 0, 0
	for at := 0; at < data.Len(); at += cabBlock {
		plain := data.Bytes()[at:min(at+cabBlock, data.Len())]
		packed := plain
		if mszip {
			method = 1
			packed = deflate(t, plain, data.Bytes()[max(0, at-cabBlock):at])
		}
		blocks.Write(make([]byte, 4))
		blocks.Write(binary.LittleEndian.AppendUint16(nil, uint16(len(packed))))
		blocks.Write(binary.LittleEndian.AppendUint16(nil, uint16(len(plain))))
		blocks.Write(packed)
		count++
	}
	const header, folder = 36, 8
	cab := []byte("MSCF\x00\x00\x00\x00")
	u32 := func(n int) { cab = binary.LittleEndian.AppendUint32(cab, uint32(n)) }
	u16 := func(n int) { cab = binary.LittleEndian.AppendUint16(cab, uint16(n)) }
	u32(header + folder + entries.Len() + blocks.Len())
	u32(0)
	u32(header + folder)
	u32(0)
	u16(0x0103)
	u16(1)
	u16(len(files))
	u16(0)
	u32(0)
	u32(header + folder + entries.Len())
	u16(count)
	u16(method)
	return append(append(cab, entries.Bytes()...), blocks.Bytes()...)
}

func deflate(t testing.TB, plain, before []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("CK")
	w, err := flate.NewWriterDict(&b, flate.BestCompression, before)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gcab(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "gcab.cab"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestReadCab(t *testing.T) {
	files, err := readCab(gcab(t))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Name)
	}
	if got := strings.Join(names, " "); got != "setup.cmd version.txt Vendor/RootCA/Test EK Root.cer Vendor/IntermediateCA/Test_EK_Intermediate.crt" {
		t.Errorf("files %s", got)
	}
	if len(files[1].Data) != 70000 || strings.Trim(string(files[1].Data), "v") != "" {
		t.Errorf("version.txt has %d bytes", len(files[1].Data))
	}
	if got := sumText(files[2].Data); got != "518b4d13a86c057aada163d7c9a10fc49314137fa2cc558d72a23e5a387022ca" {
		t.Errorf("the root is %s", got)
	}
	long := bytes.Repeat([]byte("some words that repeat, but not at 32768; "), 3000)
	for _, mszip := range []bool{false, true} {
		files, err := readCab(makeCab(t, mszip, BundleFile{"a", long}, BundleFile{"b/c", []byte("x")}, BundleFile{"empty", nil}))
		if err != nil || len(files) != 3 || !bytes.Equal(files[0].Data, long) || string(files[1].Data) != "x" || len(files[2].Data) != 0 {
			t.Errorf("mszip %v: %v, %d files", mszip, err, len(files))
		}
	}
	// Reserved bytes, as a signed cabinet has, and a signature behind.
	if files, err := readCab(append(reserved(gcab(t)), "signature"...)); err != nil || len(files) != 4 {
		t.Errorf("reserved: %v", err)
	}
}

// reserved gives a cabinet with one folder 20 reserved bytes in the header, 2 in
// the folder; its data blocks stay as they are.
func reserved(cab []byte) []byte {
	out := bytes.Clone(cab[:36])
	out = append(out, 20, 0, 2, 0)
	out = append(out, make([]byte, 20)...)
	out = append(out, cab[36:44]...)
	out = append(out, 0, 0)
	out = append(out, cab[44:]...)
	const more = 26
	for _, at := range []int{8, 16, 60} { // size, files, the folder's data
		binary.LittleEndian.PutUint32(out[at:], binary.LittleEndian.Uint32(out[at:])+more)
	}
	out[30] = 4
	return out
}

// putAt changes a cabinet's bytes.
func putAt(cab []byte, at int, b ...byte) []byte {
	cab = bytes.Clone(cab)
	copy(cab[at:], b)
	return cab
}

func TestReadCabRefuses(t *testing.T) {
	good := makeCab(t, true, BundleFile{"a", []byte("hello")})
	bomb := makeCab(t, true, BundleFile{"a", make([]byte, 20*cabBlock)})
	data := int(binary.LittleEndian.Uint32(bomb[36:]))
	// One block that is read again and again by each of many folders.
	var folders []byte
	for range maxCabFolders {
		folders = append(folders, bomb[36:44]...)
	}
	many := append(append(bytes.Clone(bomb[:36]), folders...), bomb[44:]...)
	many[26] = maxCabFolders
	// A block of nothing costs time and counts for nothing: only the last is short.
	block := good[len(good)-8-len(deflate(t, []byte("hello"), nil)):]
	short := putAt(append(bytes.Clone(good), block...), 40, 2)
	stored := makeCab(t, false, BundleFile{"a", bytes.Repeat([]byte("x"), 2*cabBlock)})
	for name, test := range map[string]struct {
		cab  []byte
		says string
	}{
		"nothing":                  {nil, "not a cabinet"},
		"only a magic":             {[]byte("MSCF"), "not a cabinet"},
		"something else":           {[]byte("PK\x03\x04 and so on, until there are enough bytes"), "not a cabinet"},
		"a later part":             {putAt(good, 30, 1), "several parts"},
		"an earlier part":          {putAt(good, 30, 2), "several parts"},
		"LZX":                      {putAt(good, 42, 3, 0x15), "unpack it"},
		"Quantum":                  {putAt(good, 42, 2), "unpack it"},
		"too many folders":         {putAt(good, 26, 65), "folders"},
		"too many files":           {putAt(good, 28, 0x01, 0x40), "files"},
		"fewer files than it says": {putAt(good, 28, 200), ""},
		"files beyond the end":     {putAt(good, 16, 0xff, 0xff, 0xff, 0x7f), "cut off"},
		"data beyond the end":      {putAt(good, 36, 0xff, 0xff, 0xff, 0xff), "cut off"},
		"more blocks than it has":  {putAt(good, 40, 9), ""},
		"a file beyond the folder": {putAt(good, 44, 6), "lies outside"},
		"a file before nothing":    {putAt(good, 48, 0xff, 0xff, 0xff, 0xff), "lies outside"},
		"a file of no folder":      {putAt(good, 52, 1), "lies outside"},
		"a file of the next part":  {putAt(good, 52, 0xfe, 0xff), "several parts"},
		"a size that lies":         {putAt(good, 8, 0xff, 0xff, 0xff, 0x7f), "cut off"},
		"no MSZIP":                 {putAt(good, len(good)-len(deflate(t, []byte("hello"), nil)), 'X'), "not MSZIP"},
		"a block that says less":   {putAt(bomb, data+6, 10, 0), "its size"},
		"a block that says more":   {putAt(good, len(good)-len(deflate(t, []byte("hello"), nil))-2, 200), "its size"},
		"a stored block too large": {putAt(stored, int(binary.LittleEndian.Uint32(stored[36:]))+4, 0xff, 0xff, 0xff, 0xff), ""},
		"blocks that are not full": {short, "its size"},
		"too large":                {make([]byte, maxCab+1), "more than"},
		"each folder the same":     {many, ""},
	} {
		if files, err := readCab(test.cab); err == nil || files != nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %d files, %v", name, len(files), err)
		}
	}
	for n := range good {
		if _, err := readCab(good[:n]); err == nil {
			t.Fatalf("cut off at %d: read", n)
		}
	}
}

// A cabinet whose files overlap unpacks to little and could yet stand for very
// much: the sum counts.
func TestCabBomb(t *testing.T) {
	var files []BundleFile
	for range 200 {
		files = append(files, BundleFile{Name: "a"})
	}
	big := make([]byte, 12*cabBlock)
	cab := makeCab(t, true, append([]BundleFile{{"all", big}}, files...)...)
	at := 44 + 16 + len("all") + 1
	for range files {
		binary.LittleEndian.PutUint32(cab[at:], uint32(len(big)))
		binary.LittleEndian.PutUint32(cab[at+4:], 0)
		at += 16 + 2
	}
	if _, err := readCab(cab); err == nil || !strings.Contains(err.Error(), "unpacks to more") {
		t.Errorf("%v of %d bytes", err, len(cab))
	}
	// 65535 blocks would be 2 GB.
	blocks := bytes.Repeat(makeCab(t, true, BundleFile{"a", make([]byte, cabBlock)})[62:], 3000)
	bomb := append(makeCab(t, true, BundleFile{"a", make([]byte, cabBlock)})[:62], blocks...)
	binary.LittleEndian.PutUint16(bomb[40:], 3000)
	if _, err := readCab(bomb); err == nil || !strings.Contains(err.Error(), "unpacks to more") {
		t.Errorf("%v of %d bytes", err, len(bomb))
	}
}

func FuzzReadCab(f *testing.F) {
	f.Add(gcab(f))
	f.Add(reserved(gcab(f)))
	f.Add(makeCab(f, false, BundleFile{"a", []byte("hello")}, BundleFile{"b", []byte("world")}))
	f.Add([]byte("MSCF"))
	f.Fuzz(func(t *testing.T, cab []byte) {
		files, err := readCab(cab)
		if err != nil && files != nil {
			t.Fatal("files beside an error")
		}
		total := 0
		for _, file := range files {
			total += len(file.Data)
			if strings.Contains(file.Name, "\x00") || len(file.Name) > maxName {
				t.Fatalf("name %q", file.Name)
			}
		}
		if total > maxUnpacked {
			t.Fatalf("%d bytes", total)
		}
	})
}
