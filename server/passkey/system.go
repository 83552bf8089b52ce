package passkey

import "muster/server/reference"

// SystemOf is the only operating system (windows, darwin) whose machines have
// authenticators of a model built in, with keys that do not leave the machine;
// empty for models of several systems, that synchronise, or that are not known.
//
// Source: the names in the community's list of models (server/reference/data), which
// say Windows Hello, Chrome on Mac and Edge on Mac; Windows Hello's three are in
// FIDO's metadata, too. What that list calls by a browser or a keychain alone is on
// several systems, or synchronises.
//
// An AAGUID that nobody attested is a claim: who uses this may only become
// stricter by it.
func SystemOf(model reference.AAGUID) string {
	switch model.String() {
	case "08987058-cadc-4b81-b6e1-30de50dcbe96", "9ddd1817-af5a-4672-a2b9-3e3dd95000a9", "6028b017-b1d4-4c02-b4b3-afcdafc96bb2":
		return "windows"
	case "adce0002-35bc-c60a-648b-0b25f1f05503", "771b48fd-d3d4-4f74-9232-fc157ab0507a":
		return "darwin"
	}
	return ""
}
