// Package geo tells where an address is, from MaxMind files that an operator
// brings. Without a file nothing is known, which is no error.
//
// What a file says is somebody's guess about a network, and a person behind a VPN
// is where the VPN is: good for a rule that tightens, worth nothing as a proof.
//
// It guarantees that a damaged file is an error when it is opened, or else unknown
// at the addresses that the damage reaches, and never a panic. Files are read whole
// and once: one that is replaced is looked at when it is opened again.
package geo
