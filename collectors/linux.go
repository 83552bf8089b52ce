package collectors

// linuxList is every claim and its collector on Linux, in the order of the wire
// form.
func linuxList() []collector {
	return []collector{
		{"os", Cheap, collectOS},
		{"patches", Dear, collectPatches},
		{"disk_encryption", Cheap, collectDiskEncryption},
		{"home_encryption", Cheap, collectHomeEncryption},
		{"firewall", Brisk, collectFirewall},
		{"secure_boot", Cheap, collectSecureBoot},
		{"boot_security", Cheap, collectBootSecurity},
		{"tpm", Cheap, collectTPM},
		{"hardware", Cheap, collectHardware},
		notYet("screen_lock"),
		notYet("malware_protection"),
		{"automatic_updates", Brisk, collectAutomaticUpdates},
		{"remote_access", Brisk, collectRemoteAccess},
		notYet("local_administrators"),
		notYet("mdm"),
	}
}
