package collectors

// windowsList is every claim and its collector on Windows, in the order of the wire
// form.
func windowsList() []collector {
	return []collector{
		notYet("os"),
		notYet("patches"),
		notYet("disk_encryption"),
		notYet("home_encryption"),
		notYet("firewall"),
		notYet("secure_boot"),
		notYet("boot_security"),
		notYet("tpm"),
		notYet("hardware"),
		notYet("screen_lock"),
		notYet("malware_protection"),
		notYet("automatic_updates"),
		notYet("remote_access"),
		notYet("local_administrators"),
		notYet("mdm"),
	}
}
