package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"muster/server"
	"muster/server/decide"
	"muster/server/verify"
	"muster/server/web"
)

// policyCmd is about policy files.
type policyCmd struct {
	Check    policyCheckCmd    `cmd:"" help:"Is every word of a policy understood? Exit 3 when not."`
	Test     policyTestCmd     `cmd:"" help:"Run the tests that a policy carries. Exit 3 when one fails."`
	Explain  policyExplainCmd  `cmd:"" help:"Say, rule by rule, what a policy decides for a device."`
	Simulate policySimulateCmd `cmd:"" help:"Say who would lose or gain what by a policy, on the running server. Exit 3 when somebody loses."`
	Diff     policyDiffCmd     `cmd:"" help:"Say in what two policies differ in meaning."`
	Default  policyDefaultCmd  `cmd:"" help:"Print the policy in the program, to begin from."`
	Reload   policyReloadCmd   `cmd:"" help:"Have the running server read its policy file again."`
}

type policyCheckCmd struct {
	File string `arg:"" help:"Policy (YAML)." type:"existingfile"`
}

func (c *policyCheckCmd) Run() error {
	p, err := loadPolicy(c.File)
	if err != nil {
		return err
	}
	_, err = fmt.Printf("%s is understood: %d applications, digest %s\n", c.File, len(p.Apps()), p.Digest())
	return err
}

// loadPolicy makes what is wrong with a policy an answer of "not fit".
func loadPolicy(file string) (*decide.Policy, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	p, err := decide.Load(file, b)
	if err != nil {
		return nil, notFitError("the policy is not understood\n" + err.Error())
	}
	return p, nil
}

type policyTestCmd struct {
	File string `arg:"" help:"Policy (YAML)." type:"existingfile"`
}

func (c *policyTestCmd) Run() error {
	p, err := loadPolicy(c.File)
	if err != nil {
		return err
	}
	failed := 0
	results := p.Test(func(name string) ([]byte, error) { return readBeside(c.File, name) })
	for _, r := range results {
		if r.Problem == "" {
			fmt.Printf("ok      %s\n", r.Name)
			continue
		}
		failed++
		fmt.Printf("FAILED  %s:%d: %s\n        %s\n", c.File, r.Line, r.Name, r.Problem)
	}
	if failed > 0 {
		return notFitError(fmt.Sprintf("%d of %d tests failed", failed, len(results)))
	}
	_, err = fmt.Printf("%d tests passed\n", len(results))
	return err
}

// readBeside reads a file that a policy names, relative to the policy.
func readBeside(policy, name string) ([]byte, error) {
	root, err := os.OpenRoot(filepath.Dir(policy))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.ReadFile(name)
}

type policyExplainCmd struct {
	App     string `help:"The application." required:"" placeholder:"ID"`
	Device  string `help:"A device of this server." placeholder:"ID" xor:"from"`
	Result  string `help:"A Result in JSON, as device show has it in \"result\"." type:"existingfile" xor:"from"`
	Session string `help:"A session of this server, with the laptop that it is linked to." placeholder:"ID" xor:"from"`
	File    string `help:"Policy (YAML); default: the one in the program, and for --session the running one." type:"existingfile"`
}

func (c *policyExplainCmd) Run(ctx context.Context, s *settings) error {
	if c.Session != "" {
		return c.session(ctx, s)
	}
	p, _, err := decide.Default()
	if c.File != "" {
		p, err = loadPolicy(c.File)
	}
	if err != nil {
		return err
	}
	in := decide.Inputs{App: c.App, Now: time.Now()}
	if err := c.input(ctx, s, &in); err != nil {
		return err
	}
	e := p.Explain(in)
	e.Decision = e.Decision.Alone() // a laptop by itself: rules about people do not count
	return e.Text(os.Stdout)
}

// session has the running server explain: a session's inputs are in no file.
func (c *policyExplainCmd) session(ctx context.Context, s *settings) error {
	q := map[string]string{"session": c.Session, "app": c.App}
	if c.File != "" {
		if _, err := loadPolicy(c.File); err != nil {
			return err
		}
		text, err := os.ReadFile(c.File)
		if err != nil {
			return err
		}
		q["text"] = string(text)
	}
	var e decide.Explanation
	err := withControl(ctx, s, func(control *server.Control) error { return control.Do(ctx, "POST", "/explain", q, &e) })
	if err != nil {
		return err
	}
	return e.Text(os.Stdout)
}

func (c *policyExplainCmd) input(ctx context.Context, s *settings, in *decide.Inputs) error {
	switch {
	case c.Result != "":
		b, err := os.ReadFile(c.Result)
		if err != nil {
			return err
		}
		in.HasResult = true
		if err := json.Unmarshal(b, &in.Device, json.RejectUnknownMembers(true)); err != nil {
			return fmt.Errorf("reading %s: %w", c.Result, err)
		}
		return nil
	case c.Device != "":
		return withControl(ctx, s, func(control *server.Control) error {
			var view struct {
				verify.Device
				Result *verify.Result `json:"result"`
			}
			if err := control.Do(ctx, "GET", "/devices/"+c.Device, nil, &view); err != nil {
				return err
			}
			if view.Result != nil {
				in.Device, in.HasResult = *view.Result, true
			}
			in.Device.Device = view.Device
			return nil
		})
	}
	return usageError("give --device, --result or --session")
}

type policyDefaultCmd struct{}

func (policyDefaultCmd) Run() error {
	_, text, err := decide.Default()
	if err != nil {
		return err
	}
	_, err = io.WriteString(os.Stdout, text)
	return err
}

type policySimulateCmd struct {
	File string `arg:"" help:"Policy (YAML)." type:"existingfile"`
	JSON bool   `help:"Print JSON."`
}

func (c *policySimulateCmd) Run(ctx context.Context, s *settings) error {
	if _, err := loadPolicy(c.File); err != nil {
		return err
	}
	text, err := os.ReadFile(c.File)
	if err != nil {
		return err
	}
	var out web.Simulation
	err = withControl(ctx, s, func(control *server.Control) error {
		return control.Do(ctx, "POST", "/policy/simulate", map[string]string{"text": string(text)}, &out)
	})
	if err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(out)
	} else {
		err = printSimulation(&out)
	}
	if err == nil && out.Lost > 0 {
		err = notFitError(fmt.Sprintf("%d would lose access", out.Lost))
	}
	return err
}

func printSimulation(out *web.Simulation) error {
	fmt.Printf("%d laptops and %d sessions looked at: %d would lose, %d would gain\n", out.Devices, out.Sessions, out.Lost, out.Won)
	for _, c := range out.Changes {
		who := c.Person
		if who == "" {
			who = "laptop"
		}
		if c.Laptop != "" || c.Device != "" {
			who += " (" + cmp.Or(c.Laptop, c.Device) + ")"
		}
		fmt.Printf("  %-12s %v -> %v  %s  %s\n", c.App, c.Before, c.After, who, strings.Join(c.Reasons, ", "))
	}
	if more := out.Lost + out.Won - len(out.Changes); more > 0 {
		fmt.Printf("  and %d more\n", more)
	}
	for _, t := range out.Trial {
		fmt.Printf("on trial: %s is not met by %d laptops, %d sessions\n", t.Rule, t.Devices, t.Sessions)
	}
	return nil
}

type policyDiffCmd struct {
	From string `arg:"" help:"Policy (YAML)." type:"existingfile"`
	To   string `arg:"" help:"Another one." type:"existingfile"`
}

func (c *policyDiffCmd) Run() error {
	from, err := loadPolicy(c.From)
	if err != nil {
		return err
	}
	to, err := loadPolicy(c.To)
	if err != nil {
		return err
	}
	for _, d := range decide.Diff(from, to) {
		fmt.Printf("%s: %s\n", d.What, d.How)
	}
	return nil
}

type policyReloadCmd struct{}

func (policyReloadCmd) Run(ctx context.Context, s *settings) error {
	return withControl(ctx, s, func(control *server.Control) error {
		var reply struct {
			Policy string `json:"policy"`
		}
		if err := control.Do(ctx, "POST", "/policy", nil, &reply); err != nil {
			return err
		}
		_, err := fmt.Println("in use:", reply.Policy)
		return err
	})
}
