package collectors

import (
	"context"
	"testing"

	"muster/attest/posture"
)

func TestHomeEncryption(t *testing.T) {
	const (
		people = "root:x:0:0:root:/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\nben:x:1001:1001::/home/ben:/bin/sh\n" +
			"gone:x:1002:1002::/home/gone:/bin/sh\nnobody:x:65534:65534::/nonexistent:/bin/false\n+::::::\n"
		root    = "25 1 254:0 / / rw - ext4 /dev/vda rw\n"
		crypt   = "26 25 0:40 / /home/anna rw - ecryptfs /home/.ecryptfs/anna/.Private rw\n"
		both    = "27 25 0:41 / /home/ben rw - ecryptfs /home/.ecryptfs/ben/.Private rw\n"
		covered = "28 25 0:42 / /home/anna rw - tmpfs tmpfs rw\n"
	)
	homes := files{"home/anna/x": "", "home/ben/x": ""}
	with := func(passwd, mounts string) files {
		f := files{"etc/passwd": passwd, "proc/self/mountinfo": mounts}
		for name, content := range homes {
			f[name] = content
		}
		return f
	}
	for _, c := range []struct {
		name   string
		files  files
		state  posture.State
		reason posture.Reason
		want   posture.HomeEncryption
	}{
		{"both by eCryptfs", with(people, root+crypt+both), posture.Yes, "", posture.HomeEncryption{Mechanism: "ecryptfs", Homes: 2, Encrypted: 2}},
		{"one of two, fscrypt not to be asked", with(people, root+crypt), posture.Unknown, posture.NotThisRoot, posture.HomeEncryption{Mechanism: "ecryptfs", Homes: 2, Encrypted: 1}},
		{"covered by another mount", with(people, root+crypt+both+covered), posture.Unknown, posture.NotThisRoot, posture.HomeEncryption{Mechanism: "ecryptfs", Homes: 2, Encrypted: 1}},
		{"nobody", with("root:x:0:0:root:/root:/bin/sh\n", root), posture.Unknown, posture.NothingMounted, posture.HomeEncryption{}},
		{"a cut line", with("anna:x:1000\n", root), posture.Unknown, posture.Unparsable, posture.HomeEncryption{}},
		{"a bad mountinfo", with(people, root+"x\n"), posture.Unknown, posture.Unparsable, posture.HomeEncryption{}},
		{"no mountinfo", files{"etc/passwd": people}, posture.Unknown, posture.Unreadable, posture.HomeEncryption{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := collected(t, c.files, collectHomeEncryption).HomeEncryption
			if got.State != c.state || got.Reason != c.reason || got.Detail != c.want {
				t.Errorf("got %v %q %+v", got.State, got.Reason, got.Detail)
			}
		})
	}
}

// Asking the kernel about a directory without a policy is no error.
func TestNoFscryptPolicy(t *testing.T) {
	live, err := NewTree("/")
	must(t, err)
	if encrypted, err := fscrypted(live, t.TempDir()); encrypted || err != nil {
		t.Errorf("%v, %v", encrypted, err)
	}
	if _, err := fscrypted(live, "/nowhere"); err == nil {
		t.Error("no error for a directory that is not there")
	}
}

// What the running system says of itself fits together, whoever runs this.
func TestThisMachine(t *testing.T) {
	live, err := NewTree("/")
	must(t, err)
	m := treeOf(t, nil)
	m.Tree = live
	got := Collect(context.Background(), m)
	for name, c := range got.Each() {
		if c.State == posture.Unknown && c.Reason == "" || c.Reason == posture.Crashed || c.Reason == posture.NotCollected {
			t.Errorf("%s is %v %q", name, c.State, c.Reason)
		}
	}
	for _, v := range got.DiskEncryption.Detail.Volumes {
		if v.State == posture.Yes && v.Mechanism == "" {
			t.Errorf("%+v is encrypted by nothing", v)
		}
	}
}
