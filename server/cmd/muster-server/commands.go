package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"muster/server"
	"muster/server/verify"
)

// commands is the whole command line.
type commands struct {
	Settings settings `embed:""`

	Serve      serveCmd      `cmd:"" help:"Run the server."`
	Localserve localserveCmd `cmd:"" help:"Try the whole product on this machine: server, agent and a sample decision. Leaves nothing behind."`
	Config     configCmd     `cmd:"" help:"Print the settings as they would be used."`
	Policy     policyCmd     `cmd:"" help:"Check, test and explain policies."`
	Token      tokenCmd      `cmd:"" help:"Make and list enrolment tokens."`
	Device     deviceCmd     `cmd:"" help:"List, approve and revoke devices."`
	User       userCmd       `cmd:"" help:"People: list, invite, import, change, disable."`
	Bypass     bypassCmd     `cmd:"" help:"Rules that are let pass for one laptop or person, for a while."`
	Session    sessionCmd    `cmd:"" help:"List and end people's sessions."`
	Reference  referenceCmd  `cmd:"" help:"What good looks like: CAs of TPMs, boot authorities and revocations, FIDO's metadata."`
	Evidence   evidenceCmd   `cmd:"" help:"What decisions rested on: judge boot logs, export and verify evidence."`
	Listed     listedCmd     `cmd:"" help:"TPMs that may enrol by themselves, by EK hash or certificate."`
	Gateway    gatewayCmd    `cmd:"" help:"Credentials of gateways and programs that ask for decisions."`
	Audit      auditCmd      `cmd:"" help:"The audit log."`
	Backup     backupCmd     `cmd:"" help:"Write a backup while the server runs."`
	Restore    restoreCmd    `cmd:"" help:"Put a backup in place of the database; the server must be stopped."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
}

// settings are shared by every command. Strongest first: flags, environment
// (MUSTER_DATA_DIR, ...), the settings file.
type settings struct {
	Config kong.ConfigFlag `help:"Settings file (JSON)." placeholder:"FILE"`

	DataDir        string         `help:"Folder of the database." default:"${data_dir}" placeholder:"DIR"`
	Listen         string         `help:"Address of the public listener." placeholder:"HOST:PORT"`
	PublicURL      string         `name:"public-url" help:"What agents and browsers call this server; fixed at the first start." placeholder:"URL"`
	TLSCert        string         `name:"tls-cert" help:"TLS certificate chain (PEM)." placeholder:"FILE"`
	TLSKey         string         `name:"tls-key" help:"TLS private key (PEM)." placeholder:"FILE"`
	TrustedProxies []netip.Prefix `name:"trusted-proxy" help:"Network of a reverse proxy in front of this server." placeholder:"CIDR"`
	EKRoots        []string       `name:"ek-roots" help:"CAs that vouch for hardware TPMs (PEM)." placeholder:"FILE"`
	VTPMRoots      []string       `name:"vtpm-roots" help:"CAs that vouch for virtual TPMs (PEM)." placeholder:"FILE"`
	ReferenceKeys  []string       `name:"reference-keys" help:"Public keys of other servers whose packs of references are accepted (PEM or JWK)." placeholder:"FILE"`
	DBXLevel       string         `name:"dbx-level" help:"Least level of firmware's revocations (dbx), as reference list --json names them; default: the oldest." placeholder:"NAME"`
	SBATLevel      string         `name:"sbat-level" help:"Least level of shim's revocations (SBAT); default: the oldest." placeholder:"NAME"`
	PolicyFile     string         `name:"policy" help:"Policy (YAML); default: the one in the program." placeholder:"FILE"`
	ReportEvery    int            `help:"Seconds between reports when nothing changes." placeholder:"SECONDS"`
	RequireToken   bool           `help:"Refuse devices that bring no token and are not listed."`

	RPID              string        `name:"rp-id" help:"WebAuthn RP ID; default: the host of the public URL; fixed at the first start." placeholder:"NAME"`
	LinkPort          int           `help:"Port where agents listen on their own loopback for pages to ask which laptop they are on; 0: nowhere." placeholder:"PORT"`
	SMTPAddress       string        `name:"smtp-address" help:"Mail server for notices." placeholder:"HOST:PORT"`
	SMTPFrom          string        `name:"smtp-from" help:"Sender of notices." placeholder:"ADDRESS"`
	SMTPUser          string        `name:"smtp-user" help:"User at the mail server." placeholder:"NAME"`
	SMTPPasswordFile  string        `name:"smtp-password-file" help:"File with the user's password." placeholder:"FILE"`
	SMTPTLS           string        `name:"smtp-tls" help:"starttls (default), tls, or none for a server on this machine." placeholder:"HOW"`
	WebhookURL        string        `name:"webhook-url" help:"Where notices go as signed JSON; one that holds a token belongs into the settings file." placeholder:"URL"`
	WebhookSecretFile string        `help:"File with the secret that signs them." placeholder:"FILE"`
	Administrators    []string      `name:"administrator" help:"Mail address that hears of what concerns the whole." placeholder:"ADDRESS"`
	RecoveryWait      time.Duration `help:"How long a recovery by laptop waits after its approval." default:"24h"`
	ReadmitAlone      bool          `help:"Owners readmit their own laptops whose keys changed; else an approver confirms."`
	MDSRoots          []string      `name:"mds-roots" help:"Further CAs that may sign FIDO metadata, for tests and mirrors (PEM)." placeholder:"FILE"`

	GatewayListen string `help:"Address where gateways come with client certificates; needs --tls-cert." placeholder:"HOST:PORT"`
	EnvoyListen   string `help:"Address where Envoy's gRPC comes, plain: keep it on loopback." placeholder:"HOST:PORT"`
	CountryFile   string `help:"MaxMind database of countries." placeholder:"FILE"`
	ASNFile       string `name:"asn-file" help:"MaxMind database of autonomous systems." placeholder:"FILE"`

	LogLevel slog.Level `help:"debug, info, warn or error." default:"info"`
}

// server returns what the server package takes.
func (s *settings) server() server.Config {
	c := server.Config{
		DataDir: s.DataDir, Listen: s.Listen, PublicURL: s.PublicURL, TLSCert: s.TLSCert, TLSKey: s.TLSKey,
		TrustedProxies: s.TrustedProxies, EKRoots: s.EKRoots, VTPMRoots: s.VTPMRoots, ReferenceKeys: s.ReferenceKeys, Policy: s.PolicyFile,
		BootLevels:  verify.BootLevels{DBX: s.DBXLevel, SBAT: s.SBATLevel},
		ReportEvery: s.ReportEvery, RequireToken: s.RequireToken,
		RPID: s.RPID, LinkPort: s.LinkPort, Administrators: s.Administrators, RecoveryWait: s.RecoveryWait,
		ReadmitAlone: s.ReadmitAlone, MDSRoots: s.MDSRoots,
		GatewayListen: s.GatewayListen, EnvoyListen: s.EnvoyListen, CountryFile: s.CountryFile, ASNFile: s.ASNFile,
	}
	c.SMTP.Address, c.SMTP.From, c.SMTP.User = s.SMTPAddress, s.SMTPFrom, s.SMTPUser
	c.SMTP.PasswordFile, c.SMTP.TLS = s.SMTPPasswordFile, s.SMTPTLS
	c.Webhook.URL, c.Webhook.SecretFile = s.WebhookURL, s.WebhookSecretFile
	return c
}

func (s *settings) log() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: s.LogLevel}))
}

// defaultDataDir is the system's folder for root, the person's own otherwise.
func defaultDataDir() string {
	if os.Geteuid() == 0 {
		return "/var/lib/muster-server"
	}
	if dir, err := os.UserConfigDir(); err == nil {
		return filepath.Join(dir, "muster-server")
	}
	return "muster-server"
}

// settingsFile reads the JSON settings: members are named as the flags, with
// underscores. A member that is no flag is an error.
func settingsFile(r io.Reader) (kong.Resolver, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxSettings))
	if err != nil {
		return nil, err
	}
	f := new(fileSettings)
	if err := json.Unmarshal(b, &f.members); err != nil {
		return nil, usageError("settings file: " + err.Error())
	}
	f.Resolver, err = kong.JSON(bytes.NewReader(b))
	return f, err
}

const maxSettings = 64 << 10

// fileSettings is a settings file whose members are checked.
type fileSettings struct {
	kong.Resolver
	members map[string]json.RawMessage
}

// Resolve gives the file's value of a flag, unless the environment, which is
// stronger, has one.
func (f *fileSettings) Resolve(k *kong.Context, parent *kong.Path, flag *kong.Flag) (any, error) {
	for _, name := range flag.Envs {
		if _, set := os.LookupEnv(name); set {
			return nil, nil
		}
	}
	return f.Resolver.Resolve(k, parent, flag)
}

// Validate refuses members that are no setting.
func (f *fileSettings) Validate(app *kong.Application) error {
	for name := range f.members {
		known := slices.ContainsFunc(app.Flags, func(flag *kong.Flag) bool { return settingName(flag.Name) == name })
		if !known {
			return fmt.Errorf("settings file: there is no setting %q; \"muster-server config\" lists them", name)
		}
	}
	return nil
}

func settingName(flag string) string { return strings.ReplaceAll(flag, "-", "_") }

// notFitError is an answer of "no", told by exit code 3.
type notFitError string

func (e notFitError) Error() string { return string(e) }

// usageError is a command line that cannot be meant, told by exit code 2.
type usageError string

func (e usageError) Error() string { return string(e) }

// printJSON writes a value for people and programs.
func printJSON(v any) error {
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}
