package evidence

import "muster/attest"

// wordOnly says what no file can show.
func (a *audit) wordOnly() {
	a.say("freshness", word, "That the nonces were fresh and each was answered once, only the server knows, which made them.")
	a.say("time", word, "Every time is by the server's clock, but for when claims were looked at, which is by the laptop's.")
}

// inWords says what the checks come to.
func (a *audit) inWords() {
	soft := a.f.Device.Kind == attest.KindSoft
	prove := func(holds bool, text string) {
		if holds {
			a.Proves = append(a.Proves, text)
		}
	}
	signed := a.is("statement") == proved
	resides := a.is("certified-dk") == proved
	// Whether the AK is a TPM's only activation shows, and that only to the server: what
	// the AK says is conditional on it.
	const given = "If the AK is a TPM's, as activation showed the server: "
	prove(a.is("level") == proved, "The EK that enrolled is of a TPM that a CA among your roots vouches for.")
	prove(resides && !a.redacted, given+"that TPM holds the device key, and said so for this enrolment with this server.")
	prove(resides && a.redacted, given+"that TPM holds the device key.")
	prove(signed && !soft && resides, given+"the statement was signed by a key that cannot leave it.")
	prove(signed && soft, "The statement was signed by the key file that enrolled.")
	prove(a.is("quote") == proved && !a.redacted, given+"it held the quoted PCR values when the statement beside the quote was made.")
	prove(a.is("quote") == proved && a.redacted, given+"it held the quoted PCR values at some time.")
	prove(a.is("boot-log") == proved, "The boot log is what was measured into them, as far as its events hash to what was extended.")
	prove(a.is("result") == proved && len(a.f.Log) == 0, "The claims follow from the report.")
	prove(a.is("result") == proved && len(a.f.Log) > 0, "The claims follow from the report, the quote, the log and the references.")
	prove(a.is("decision") == proved && a.is("policy") == proved, "The decision follows from the claims, the policy and the grace that was left.")
	prove(a.is("audit-entry") == proved, "The entry of the audit log is whole: it has the hash by which the log goes on from it.")

	a.DoesNotProve = []string{
		"That the nonce was fresh: the server made it.",
		"What time it was: the times are the server's.",
		"That what claims with source reported say is true: the laptop's system said it, and whoever rules that system can make it lie.",
		"That the entry stands in the audit log: compare the head with one that was noted elsewhere.",
		"What somebody did with the laptop after it had started.",
		"What the server remembered of the laptop: how it started before, where its TPM's clock stood, whether two systems had its keys.",
	}
	if soft {
		a.DoesNotProve = append(a.DoesNotProve, "On which machine the key is: it is a file, which can be copied. Nothing about the start was measured.")
		return
	}
	a.DoesNotProve = append(a.DoesNotProve,
		"That the AK is in the TPM with the EK, or in any: activation convinces who made the secret, which was the server, and nobody else.",
		"That the TPM stands in the laptop that its claims describe, or was not attacked with tools in hand.",
		"How long the TPM's clock ran: it orders statements, and says no time.",
	)
	if a.is("result") != proved {
		a.DoesNotProve = append(a.DoesNotProve, "That what is said of its start was measured: see result.")
	}
	if a.is("level") != proved {
		a.DoesNotProve = append(a.DoesNotProve, "That the TPM is hardware: see level.")
	}
}
