package collectors

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

const goodMounts = `24 25 0:5 / /dev rw,relatime shared:1 - devtmpfs dev rw,size=453060k
25 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw
26 25 0:30 / /home/a\040b rw - btrfs /dev/mapper/x rw,subvol=/@home
27 25 0:31 / /t rw - tmpfs  rw
28 25 0:32 / /o ro - overlay overlay ro,lowerdir=/a\054b:/c
29 25 0:4 net:[4026532288] /run/netns/x rw - nsfs nsfs rw
30 25 0:33 / /dash rw - tmpfs - rw
`

func TestParseMountinfo(t *testing.T) {
	mounts, err := parseMountinfo([]byte(goodMounts))
	if err != nil || len(mounts) != 7 {
		t.Fatalf("%d mounts, %v", len(mounts), err)
	}
	if got, want := mounts[1], (mount{dev: "254:0", root: "/", point: "/", fs: "ext4", source: "/dev/vda", super: "rw"}); got != want {
		t.Errorf("got %+v", got)
	}
	if mounts[2].point != "/home/a b" || mounts[3].source != "" || mounts[6].source != "-" {
		t.Errorf("got %+v", mounts)
	}
	if got := mounts[4].options("lowerdir"); !slices.Equal(got, []string{"/a,b:/c"}) {
		t.Errorf("lowerdir %q", got)
	}
	if i := mountOf(mounts, "/home/a b/c"); i != 2 {
		t.Errorf("/home/a b/c lies on mount %d", i)
	}
	if i := mountOf(mounts, "/home/a bc"); i != 1 {
		t.Errorf("/home/a bc lies on mount %d", i)
	}
}

func TestParseMountinfoRefuses(t *testing.T) {
	const good = "25 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
	for _, bad := range []string{
		"\n", " \n", "x\n", good[:len(good)-1], good + "\n", "\n" + good,
		strings.Replace(good, " - ", " ", 1),
		strings.Replace(good, "254:0", "254", 1),
		strings.Replace(good, "254:0", "254:", 1),
		strings.Replace(good, "254:0", "254:0x", 1),
		strings.Replace(good, "254:0", "-1:0", 1),
		strings.Replace(good, "25 1", "25 x", 1),
		strings.Replace(good, " / / ", " / home ", 1),
		strings.Replace(good, "rw\n", "rw extra\n", 1),
		strings.Replace(good, " rw\n", "\n", 1),
		strings.Replace(good, " rw\n", " \n", 1),
		strings.Replace(good, "/dev/vda", `/dev/vd\`, 1),
		strings.Replace(good, "/dev/vda", `/dev/vd\99a`, 1),
		strings.Replace(good, "/dev/vda", `/dev/vd\777`, 1),
		strings.Replace(good, "shared:1", "", 1),
		strings.Replace(good, "\n", "", 1) + good,
		strings.Repeat(good, maxMounts+1),
	} {
		mounts, err := parseMountinfo([]byte(bad))
		if !errors.Is(err, errUnparsable) || mounts != nil {
			t.Errorf("%.80q: %d mounts, %v", bad, len(mounts), err)
		}
	}
}

// No mount can be made to vanish by losing one byte: what is left is refused as
// a whole, or has the same number of entries, of which one at most differs. (A
// whole line that is missing cannot be noticed, so more than that is not true.)
func FuzzMountinfo(f *testing.F) {
	f.Add([]byte(goodMounts), uint(70))
	f.Add([]byte("25 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"), uint(3))
	f.Add([]byte("25 1 254:0 / / rw - ext4 - rw\n26 25 0:1 / /a\\040b rw - tmpfs  rw\n"), uint(29))
	f.Add([]byte("1 1 0:2 / / rw - rootfs rootfs rw,size=465772k\n"), uint(46))
	f.Fuzz(func(t *testing.T, b []byte, at uint) {
		whole, err := parseMountinfo(b)
		if err != nil || len(whole) == 0 {
			if len(whole) != 0 {
				t.Fatalf("%d mounts beside an error", len(whole))
			}
			return
		}
		for i, m := range whole {
			again, err := parseMount(render(m))
			if err != nil || again != m {
				t.Fatalf("mount %d is another when written and read again: %+v, %+v, %v", i, m, again, err)
			}
		}
		loseByte(t, b, whole, int(at%uint(len(b))))
	})
}

func TestMountinfoLosesNothing(t *testing.T) {
	whole, err := parseMountinfo([]byte(goodMounts))
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(goodMounts) {
		loseByte(t, []byte(goodMounts), whole, i)
	}
}

func loseByte(t *testing.T, b []byte, whole []mount, i int) {
	t.Helper()
	less, err := parseMountinfo(slices.Delete(slices.Clone(b), i, i+1))
	if err != nil {
		return
	}
	if len(less) != len(whole) {
		t.Fatalf("without byte %d: %d mounts instead of %d", i, len(less), len(whole))
	}
	differ := 0
	for i := range whole {
		if whole[i] != less[i] {
			differ++
		}
	}
	if differ > 1 {
		t.Fatalf("without byte %d: %d mounts differ", i, differ)
	}
}

// render writes a mount as the kernel would.
func render(m mount) string {
	escape := strings.NewReplacer(`\`, `\134`, " ", `\040`, "\t", `\011`, "\n", `\012`).Replace
	return fmt.Sprintf("1 1 %s %s %s rw - %s %s %s", m.dev, escape(m.root), escape(m.point), escape(m.fs), escape(m.source), m.super)
}
