package collectors

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path"
)

// lookZypper asks zypper from its cache. Patches say what is for security; a
// distribution without patches (Tumbleweed) counts packages only.
func lookZypper(ctx context.Context, m *Machine) patchFacts {
	f := patchFacts{manager: "zypper", updatedAt: rpmUpdated(m.Tree)}
	repos, err := zypperRepositories(m.Tree)
	if err != nil {
		f.err = err
		return f
	}
	f.metadataAt = oldestRepository(m.Tree, repos)
	args := []string{"--xmlout", "--non-interactive", "--no-refresh"}
	out, err := m.run(ctx, "zypper", append(args, "list-patches")...)
	if err != nil {
		f.err = err
		return f
	}
	patches, err := parseZypper(out)
	if err != nil {
		f.err = err
		return f
	}
	if !patches.noRepositories {
		f.countSecurity(patches.security, len(patches.security)+patches.other)
		return f
	}
	out, err = m.run(ctx, "zypper", append(args, "list-updates")...)
	if err != nil {
		f.err = err
		return f
	}
	updates, err := parseZypper(out)
	if err != nil {
		f.err = err
		return f
	}
	f.countOther(len(updates.security) + updates.other)
	return f
}

// zypperList is what `zypper --xmlout list-patches` or list-updates tells.
type zypperList struct {
	security       []string // names of patches
	other          int
	noRepositories bool // no repository here publishes patches
}

// parseZypper reads zypper's XML (zypper(8), --xmlout). The list must be closed:
// zypper prints as it goes, and what was cut has no end.
func parseZypper(out []byte) (zypperList, error) {
	var list zypperList
	closed := false
	d := xml.NewDecoder(bytes.NewReader(out))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return zypperList{}, fmt.Errorf("%w: zypper's XML: %w", errUnparsable, err)
		}
		switch element := token.(type) {
		case xml.StartElement:
			list.add(element)
		case xml.EndElement:
			closed = closed || element.Name.Local == "update-list"
		}
	}
	if !closed {
		return zypperList{}, fmt.Errorf("%w: zypper's XML has no list", errUnparsable)
	}
	return list, nil
}

func (l *zypperList) add(element xml.StartElement) {
	attributes := map[string]string{}
	for _, a := range element.Attr {
		attributes[a.Name.Local] = a.Value
	}
	switch element.Name.Local {
	case "update":
		if attributes["category"] == "security" {
			l.security = append(l.security, label(attributes["name"]))
		} else {
			l.other++
		}
	case "appletinfo":
		l.noRepositories = l.noRepositories || attributes["status"] == "no-update-repositories"
	}
}

// zypperRepositories lists, for each enabled repository, its repomd.xml in the
// cache; zypper touches it when it finds that nothing changed.
func zypperRepositories(t Tree) ([]string, error) {
	repos := map[string]map[string]string{}
	if err := readRepositories(t, "/etc/zypp/repos.d", repos); err != nil {
		return nil, err
	}
	var files []string
	for alias, values := range repos {
		if enabled, ok := values["enabled"]; ok && !iniTrue(enabled) {
			continue
		}
		files = append(files, path.Join("/var/cache/zypp/raw", path.Base(alias), "repodata/repomd.xml"))
	}
	return files, nil
}
