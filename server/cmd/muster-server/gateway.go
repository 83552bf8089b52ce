package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/url"
	"os"

	"muster/server"
	"muster/server/gateway/snippets"
	"muster/server/verify"
)

// gatewayCmd is about who may ask for decisions.
type gatewayCmd struct {
	Create  gatewayCreateCmd  `cmd:"" help:"Make a credential and print its secret, once."`
	Snippet gatewaySnippetCmd `cmd:"" help:"Print what to paste into nginx, Caddy, HAProxy, Traefik or Envoy."`
	List    gatewayListCmd    `cmd:"" help:"List credentials, without their secrets."`
	Delete  gatewayDeleteCmd  `cmd:"" help:"Delete a credential: it is refused from the next request on."`
}

type gatewayCreateCmd struct {
	Name        string   `arg:"" help:"Name of the gateway or program."`
	App         []string `help:"Application that it may ask about; * for all." required:"" placeholder:"ID"`
	Dialect     string   `help:"How it asks: ${enum}." enum:"authzen,nginx,caddy,traefik,haproxy,envoy,http" default:"authzen"`
	Restricts   bool     `help:"It enforces restrictions (reading only); without it a restricted request is refused."`
	Audience    string   `help:"Hand it signed tokens for this audience." placeholder:"TEXT"`
	Certificate string   `help:"Its client certificate (PEM), which then is a credential on --gateway-listen." type:"existingfile" placeholder:"FILE"`
	Socket      string   `help:"Unix socket that the server opens for it alone." placeholder:"PATH"`
	SecretFile  string   `help:"Write the secret into this new file (mode 0600), in the form that the gateway includes, instead of printing it." placeholder:"FILE"`
}

func (c *gatewayCreateCmd) Run(ctx context.Context, s *settings) error {
	q := server.GatewayRequest{Name: c.Name, Apps: c.App, Dialect: c.Dialect, Restricts: c.Restricts, Audience: c.Audience, Socket: c.Socket}
	if c.Certificate != "" {
		b, err := os.ReadFile(c.Certificate)
		if err != nil {
			return err
		}
		q.Certificate = string(b)
	}
	out := os.Stdout
	if c.SecretFile != "" {
		// Before the credential is made: a secret that cannot be kept is lost.
		f, err := os.OpenFile(c.SecretFile, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		out = f
	}
	return withControl(ctx, s, func(control *server.Control) error {
		var made server.NewGateway
		if err := control.Do(ctx, "POST", "/gateways", q, &made); err != nil {
			return err
		}
		secret := made.Secret
		if c.SecretFile != "" {
			secret = secretLine(c.Dialect, secret)
		}
		_, err := fmt.Fprintln(out, secret)
		return err
	})
}

// secretLine is a secret as the gateway's own configuration includes it.
func secretLine(dialect, secret string) string {
	switch dialect {
	case "nginx":
		return `proxy_set_header Authorization "Bearer ` + secret + `";`
	case "caddy":
		return "MUSTER_GATEWAY_SECRET=" + secret
	}
	return secret
}

// gatewaySnippetCmd prints what is pasted into a gateway's configuration.
type gatewaySnippetCmd struct {
	Dialect    string `arg:"" help:"${enum}; haproxy-lua is the file beside HAProxy's." enum:"nginx,caddy,haproxy,haproxy-lua,traefik,envoy"`
	App        string `help:"The application." required:"" placeholder:"ID"`
	Host       string `help:"The application's name as browsers ask for it." required:"" placeholder:"NAME"`
	Upstream   string `help:"Where the gateway reaches the application." required:"" placeholder:"HOST:PORT"`
	Muster     string `help:"Where the gateway reaches this server; default: the public URL." placeholder:"URL"`
	SecretFile string `help:"Where the gateway finds its secret; of Traefik the folder of its client certificate, of Envoy the path of its socket." required:"" placeholder:"FILE"`
	Checks     string `help:"Origin of --gateway-listen, where Traefik asks." placeholder:"URL"`
	CAFile     string `name:"ca-file" help:"CA of this server's certificate; default: the system's." placeholder:"FILE"`
	LuaFile    string `help:"Where muster.lua lies for HAProxy." placeholder:"FILE"`
	Plain      string `help:"Listen here without TLS, as behind a load balancer." placeholder:"HOST:PORT"`
}

func (c *gatewaySnippetCmd) Run(s *settings) error {
	muster := cmp.Or(c.Muster, s.PublicURL)
	text, err := snippets.Render(c.Dialect, snippets.Values{Muster: muster, App: c.App, Host: c.Host, Upstream: c.Upstream,
		SecretFile: c.SecretFile, CAFile: c.CAFile, LuaFile: c.LuaFile, Listen: c.Plain, Checks: c.Checks})
	if err != nil {
		return usageError(err.Error())
	}
	_, err = io.WriteString(os.Stdout, text)
	return err
}

type gatewayListCmd struct{}

func (gatewayListCmd) Run(ctx context.Context, s *settings) error {
	return printFrom(ctx, s, "/gateways")
}

type gatewayDeleteCmd struct {
	ID string `arg:"" help:"The credential's id."`
}

func (c *gatewayDeleteCmd) Run(ctx context.Context, s *settings) error {
	return withControl(ctx, s, func(control *server.Control) error {
		return control.Do(ctx, "DELETE", "/gateways/"+url.PathEscape(c.ID), nil, nil)
	})
}

// listedCmd is about TPMs that were made known out of band.
type listedCmd struct {
	Add  listedAddCmd  `cmd:"" help:"Let a TPM enrol by itself, or pre-fill the approval of a machine."`
	List listedListCmd `cmd:"" help:"Print the list."`
}

type listedAddCmd struct {
	EKSHA256 string `name:"ek-sha256" help:"SHA-256 of the EK's public key (muster-agent doctor prints it), hexadecimal." placeholder:"HEX" xor:"key"`
	Issuer   string `help:"Issuer of the EK certificate, as a distinguished name." placeholder:"DN" and:"cert" xor:"key"`
	Serial   string `help:"Serial number of the EK certificate, hexadecimal." placeholder:"HEX" and:"cert"`
	Machine  string `help:"Serial number of the machine; alone it only pre-fills an approval." placeholder:"SERIAL"`
	Label    string `help:"What it is." placeholder:"TEXT"`
	Class    string `help:"Whose laptop it is." enum:"corporate,byod,contractor,shared" default:"corporate"`
	Group    string `help:"Group of the device." placeholder:"NAME"`
	Owner    string `help:"Owner of the device." placeholder:"NAME"`
}

func (c *listedAddCmd) Run(ctx context.Context, s *settings) error {
	return withControl(ctx, s, func(control *server.Control) error {
		return control.Do(ctx, "POST", "/listed", server.ListedRequest{
			EKSHA256: c.EKSHA256, Issuer: c.Issuer, Serial: c.Serial, Machine: c.Machine, Label: c.Label,
			Class: verify.Class(c.Class), Group: c.Group, Owner: c.Owner,
		}, nil)
	})
}

type listedListCmd struct{}

func (listedListCmd) Run(ctx context.Context, s *settings) error { return printFrom(ctx, s, "/listed") }
