package collectors

import (
	"context"
	"fmt"
	"strings"

	"muster/attest/posture"
)

// maxDatasets bounds the arguments of one zfs command.
const maxDatasets = 512

// readZFS asks zfs once for the encryption of every mounted dataset and returns
// the function that judges one. Without mounted datasets it asks nothing.
func readZFS(ctx context.Context, m *Machine, s *storage) func(string) finding {
	var datasets []string
	for _, mount := range s.mounts {
		if mount.kind() == fsZFS {
			datasets = append(datasets, mount.source)
		}
	}
	if len(datasets) == 0 || len(datasets) > maxDatasets {
		return func(string) finding { return cannotTell(posture.Unsupported) }
	}
	for _, name := range datasets {
		if name == "" || name[0] == '-' {
			return func(string) finding { return cannotTell(posture.Unparsable) }
		}
	}
	out, err := m.run(ctx, "zfs", append([]string{"get", "-Hp", "-o", "name,property,value", "encryption,keystatus"}, datasets...)...)
	if err != nil {
		why := whyUnknown(err)
		return func(string) finding { return cannotTell(why) }
	}
	properties, err := parseZFS(out)
	if err != nil {
		return func(string) finding { return cannotTell(posture.Unparsable) }
	}
	return func(dataset string) finding {
		p := properties[dataset]
		switch {
		case p["encryption"] == "off":
			return s.vdevs(ctx, m, dataset)
		case strings.HasPrefix(p["encryption"], "aes-") && p["keystatus"] == "available":
			return finding{state: posture.Yes, mechanism: "zfs"}
		}
		return cannotTell(posture.Unparsable)
	}
}

// parseZFS reads the output of zfs get -Hp -o name,property,value: three fields
// a line with tabs between them. Any other line is an error.
func parseZFS(out []byte) (map[string]map[string]string, error) {
	properties := make(map[string]map[string]string)
	for line := range strings.Lines(string(out)) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(fields) != 3 || fields[0] == "" {
			return nil, fmt.Errorf("zfs get: %d fields: %w", len(fields), errUnparsable)
		}
		if properties[fields[0]] == nil {
			properties[fields[0]] = make(map[string]string)
		}
		properties[fields[0]][fields[1]] = fields[2]
	}
	return properties, nil
}

// vdevs judges a dataset that ZFS does not encrypt by what its pool lies on:
// LUKS below ZFS is common.
func (s *storage) vdevs(ctx context.Context, m *Machine, dataset string) finding {
	pool, _, _ := strings.Cut(dataset, "/")
	out, err := m.run(ctx, "zpool", "list", "-vHPL", pool)
	if err != nil {
		return cannotTell(whyUnknown(err))
	}
	paths := parseVdevs(out)
	if len(paths) == 0 {
		return cannotTell(posture.Unparsable)
	}
	parts := make([]finding, len(paths))
	for i, p := range paths {
		if strings.HasPrefix(p, "/dev/") {
			parts[i] = s.node(p)
		} else {
			parts[i] = s.file(p)
		}
	}
	return joined(parts)
}

// parseVdevs takes the paths out of zpool list -vHPL: with -P each device is one,
// in the first or second field of its line; mirrors and the like have names.
func parseVdevs(out []byte) []string {
	var paths []string
	for line := range strings.Lines(string(out)) {
		for _, field := range strings.Split(strings.TrimSpace(line), "\t")[:1] {
			if strings.HasPrefix(field, "/") {
				paths = append(paths, field)
			}
		}
	}
	return paths
}
