package main

import (
	"context"
	"fmt"
	"net/url"

	"muster/server"
	"muster/server/verify"
)

// gatewayCmd is about who may ask for decisions.
type gatewayCmd struct {
	Create gatewayCreateCmd `cmd:"" help:"Make a credential and print its secret, once."`
	List   gatewayListCmd   `cmd:"" help:"List credentials, without their secrets."`
	Delete gatewayDeleteCmd `cmd:"" help:"Delete a credential: it is refused from the next request on."`
}

type gatewayCreateCmd struct {
	Name string   `arg:"" help:"Name of the gateway or program."`
	App  []string `help:"Application that it may ask about; * for all." required:"" placeholder:"ID"`
}

func (c *gatewayCreateCmd) Run(ctx context.Context, s *settings) error {
	return withControl(ctx, s, func(control *server.Control) error {
		var made server.NewGateway
		if err := control.Do(ctx, "POST", "/gateways", server.GatewayRequest{Name: c.Name, Apps: c.App}, &made); err != nil {
			return err
		}
		_, err := fmt.Println(made.Secret)
		return err
	})
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
