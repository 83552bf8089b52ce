package main

import (
	"fmt"
	"os"

	"muster/server/evidence"
)

// evidenceCmd is about what decisions rested on, without trust in the server.
type evidenceCmd struct {
	Bootlog evidenceBootlogCmd `cmd:"" help:"Judge one boot log on its own: which PCRs it explains, and what it shows of the start."`
	Export  evidenceExportCmd  `cmd:"" help:"Write what a decision about a device rested on into one file."`
	Verify  evidenceVerifyCmd  `cmd:"" help:"Judge such a file again, without any server. Exit 3 when it does not hold."`
}

// maxBootLog bounds a log, and maxPCRValues the values that it is compared with.
const (
	maxBootLog   = 4 << 20
	maxPCRValues = 64 << 10
)

type evidenceBootlogCmd struct {
	File string `arg:"" help:"The log: binary_bios_measurements of Linux, or a WBCL of Windows (C:\\Windows\\Logs\\MeasuredBoot)." type:"existingfile"`
	PCRs string `name:"pcrs" help:"PCR values (JSON: bank, index, hexadecimal); without them nothing is confirmed." type:"existingfile" placeholder:"FILE"`
	JSON bool   `name:"json" help:"Print JSON: only what the values confirm."`
}

func (c *evidenceBootlogCmd) Run() error {
	log, err := readFile(c.File, maxBootLog)
	if err != nil {
		return err
	}
	if len(log) == 0 {
		return fmt.Errorf("%s is empty: the firmware kept no log, or the copy failed", c.File)
	}
	var pcrs []byte
	if c.PCRs != "" {
		if pcrs, err = readFile(c.PCRs, maxPCRValues); err != nil {
			return err
		}
		if pcrs == nil {
			pcrs = []byte{} // an empty file is not "none given"
		}
	}
	report, err := evidence.Bootlog(log, pcrs)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	if c.JSON {
		return printJSON(report)
	}
	return report.Text(os.Stdout)
}
