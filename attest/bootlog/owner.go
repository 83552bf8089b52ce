package bootlog

import "crypto/sha256"

// ownerPCR is where shim measures the machine owner's keys (its README.tpm).
const ownerPCR = 14

// maxOwnerTries bounds how many certificates are tried as shim's own.
const maxOwnerTries = 8

// readOwner reads the machine owner's list. shim measures it first of all, extends
// the list's hash and logs only its name, which nothing binds; so the list is known
// when it is one of those that can be made again: the entry that shim puts into an
// empty list, or the one certificate of its maker, which vouched for a program in PCR
// 7. What is bound and is no list was not measured by shim.
func readOwner(w *working, candidates [][]byte) Fact[Keys] {
	if w.pcrs[ownerPCR] == Empty {
		return known(ownerPCR, 0, Keys{SHA256: sha256.Sum256(nil)})
	}
	if w.pcrs[ownerPCR] != Match {
		return unknown[Keys](NotReplayed)
	}
	first := &w.steps(ownerPCR)[0]
	event := int(first.number)
	none := sha256.Sum256(nil)
	list := oneEntry(make([]byte, 0, 2048), kindSHA256, none[:])
	if w.hashesTo(list, w.digest(first)) {
		return known(ownerPCR, event, Keys{SHA256: sha256.Sum256(list)})
	}
	for _, der := range candidates {
		list = oneEntry(list[:0], kindX509, der)
		if w.hashesTo(list, w.digest(first)) {
			c := content{variable: variable{data: list}}
			c.readLists(w.certs)
			return known(ownerPCR, event, c.keys)
		}
	}
	body, bound := w.body(first)
	if !bound {
		return unknown[Keys](Unbound)
	}
	c := content{variable: variable{data: body}}
	if !c.readLists(w.certs) {
		return known(ownerPCR, event, Keys{SHA256: sha256.Sum256(nil)})
	}
	return known(ownerPCR, event, c.keys)
}
