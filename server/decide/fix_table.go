package decide

import "maps"

// sayings has the words for every claim, for level, report, quote and device, and
// for who asks and how; those of single fields by their paths.
func sayings() map[string]sentences {
	all := systemSayings()
	maps.Copy(all, peopleSayings())
	maps.Copy(all, bootSayings())
	maps.Copy(all, deviceSayings())
	maps.Copy(all, visitorSayings())
	maps.Copy(all, fieldSayings())
	return all
}

// systemSayings are of what the system is made of.
func systemSayings() map[string]sentences {
	return map[string]sentences{
		"os": {
			no:      "The operating system is not one that the policy accepts.",
			unknown: "The operating system could not be identified.",
			linux:   "Upgrade to a supported release of your distribution.",
			windows: "Upgrade Windows: Settings → Windows Update.",
			darwin:  "Upgrade macOS: System Settings → General → Software Update.",
		},
		"patches": {
			no:      "Updates are missing, or wait for a restart.",
			unknown: "It could not be told whether updates are missing.",
			linux:   "Install the updates (`sudo apt update && sudo apt full-upgrade`, or the like of your distribution) and restart.",
			windows: "Install the updates: Settings → Windows Update → Check for updates, then restart.",
			darwin:  "Install the updates: System Settings → General → Software Update.",
		},
		"disk_encryption": {
			no:      "Not every disk of this laptop is encrypted.",
			unknown: "It could not be told whether the disks are encrypted.",
			linux:   "Encrypt every data partition and swap with LUKS; `muster-agent report` names the plain ones under disk_encryption.",
			windows: "Turn on BitLocker for every drive: Settings → Privacy & security → Device encryption, or Control Panel → BitLocker Drive Encryption.",
			darwin:  "Turn on FileVault: System Settings → Privacy & Security → FileVault.",
		},
		"home_encryption": {
			no:      "Not every home directory is encrypted.",
			unknown: "It could not be told whether the home directories are encrypted.",
			linux:   "Encrypt the home directories with fscrypt, or the whole disk with LUKS.",
			windows: "Turn on BitLocker for the drive of the user profiles: Control Panel → BitLocker Drive Encryption.",
			darwin:  "Turn on FileVault: System Settings → Privacy & Security → FileVault.",
		},
		"firewall": {
			no:      "The firewall does not refuse incoming connections.",
			unknown: "It could not be told whether the firewall is on.",
			linux:   "Turn on a firewall that refuses incoming connections: `sudo ufw enable`, or start firewalld.",
			windows: "Turn on the firewall: Windows Security → Firewall & network protection.",
			darwin:  "Turn on the firewall: System Settings → Network → Firewall.",
		},
		"secure_boot": {
			no:      "Secure Boot is off.",
			unknown: "It could not be told whether Secure Boot is on.",
			linux:   "Turn on Secure Boot in the firmware's settings: `sudo systemctl reboot --firmware-setup` opens them.",
			windows: "Turn on Secure Boot in the firmware's settings: Settings → System → Recovery → Advanced startup opens them.",
			darwin:  "Choose Full Security: start into Recovery, Utilities → Startup Security Utility.",
		},
		"boot_security": {
			no:      "The system kernel is not protected against programs with administrator rights.",
			unknown: "It could not be told whether the system kernel is protected.",
			linux:   "Start with kernel lockdown: Secure Boot turns it on in most distributions, or add lockdown=integrity to the kernel's command line.",
			windows: "Turn on Memory integrity: Windows Security → Device security → Core isolation.",
			darwin:  "Turn on System Integrity Protection: start into Recovery, open Terminal, run `csrutil enable`.",
		},
		"tpm": {
			no:      "This laptop has no TPM 2.0 that can be used.",
			unknown: "It could not be told whether there is a TPM.",
			linux:   "Turn on the TPM (also called fTPM or PTT) in the firmware's settings.",
			windows: "Turn on the TPM (also called fTPM or PTT) in the firmware's settings; Windows Security → Device security shows it.",
			darwin:  "Ask an administrator: a Mac has a Secure Enclave instead of a TPM, and the policy should name it.",
		},
		"hardware": {
			no:      "The hardware has no usable labels.",
			unknown: "The hardware's labels could not be read.",
			linux:   "Ask an administrator to tell this laptop by its key, not by its labels.",
			windows: "Ask an administrator to tell this laptop by its key, not by its labels.",
			darwin:  "Ask an administrator to tell this laptop by its key, not by its labels.",
		},
	}
}

// peopleSayings are of what people set.
func peopleSayings() map[string]sentences {
	return map[string]sentences{
		"screen_lock": {
			no:      "The screen does not lock by itself.",
			unknown: "It could not be told whether the screen locks by itself.",
			linux:   "Turn on the automatic screen lock: Settings → Privacy → Screen Lock.",
			windows: "Turn on the lock: Settings → Personalisation → Lock screen → Screen saver, with \"On resume, display logon screen\".",
			darwin:  "Turn on the lock: System Settings → Lock Screen → Require password.",
		},
		"malware_protection": {
			no:      "Malware protection is off or out of date.",
			unknown: "It could not be told whether malware protection is on.",
			linux:   "Start the protection product that your organisation installed, and update it.",
			windows: "Turn on real-time protection: Windows Security → Virus & threat protection.",
			darwin:  "Start the protection product that your organisation installed, and update it.",
		},
		"automatic_updates": {
			no:      "Updates are not installed by themselves.",
			unknown: "It could not be told whether updates are installed by themselves.",
			linux:   "Turn on automatic updates: `sudo dpkg-reconfigure -plow unattended-upgrades`, or enable dnf-automatic.timer.",
			windows: "Turn on automatic updates: Settings → Windows Update → Advanced options.",
			darwin:  "Turn on automatic updates: System Settings → General → Software Update → Automatic updates.",
		},
		"remote_access": {
			no:      "This laptop can be reached remotely in an unsafe way.",
			unknown: "It could not be told whether this laptop can be reached remotely.",
			linux:   "Turn off remote access that you do not need, and refuse root and passwords in /etc/ssh/sshd_config.",
			windows: "Turn off Remote Desktop: Settings → System → Remote Desktop.",
			darwin:  "Turn off Remote Login and Screen Sharing: System Settings → General → Sharing.",
		},
		"local_administrators": {
			no:      "People become administrator of this laptop too easily.",
			unknown: "It could not be told who is administrator of this laptop.",
			linux:   "Remove people from the groups sudo, wheel and admin who need not be there, and NOPASSWD from the sudo rules.",
			windows: "Remove people from the group Administrators who need not be there: Settings → Accounts → Other users.",
			darwin:  "Make accounts standard that need not administer: System Settings → Users & Groups.",
		},
		"mdm": {
			no:      "This laptop is not managed.",
			unknown: "It could not be told whether this laptop is managed.",
			linux:   "Enrol the laptop in your organisation's management, as an administrator tells you.",
			windows: "Enrol the laptop: Settings → Accounts → Access work or school → Connect.",
			darwin:  "Enrol the laptop: System Settings → General → Device Management.",
		},
	}
}

// deviceSayings are of what the server itself knows.
func deviceSayings() map[string]sentences {
	const (
		doctor  = "Connect the laptop to the network; if it is connected, look at what `muster-agent doctor` says."
		another = "Use a laptop that the policy accepts for this application, or ask an administrator."
	)
	return map[string]sentences{
		"level": {
			no:      "The keys of this laptop are not protected well enough for this application.",
			unknown: "It could not be told how the keys of this laptop are protected.",
			linux:   "Enrol the laptop with its TPM: `muster-agent doctor` says what stands in the way.",
			windows: "Enrol the laptop with its TPM: `muster-agent doctor` says what stands in the way.",
			darwin:  "Use a laptop with a TPM for this application, or ask an administrator to accept the Secure Enclave.",
		},
		"report": {
			no: "The last report of this laptop is too old for this application.", unknown: "The age of the last report is not known.",
			linux: doctor, windows: doctor, darwin: doctor,
		},
		"quote": {
			no: "The last proof by the TPM is too old for this application.", unknown: "This laptop never proved how it started.",
			linux: doctor, windows: doctor, darwin: "Use a laptop with a TPM for this application.",
		},
		"device": {
			no: "This laptop is not one that may use this application.", unknown: "It could not be told whether this laptop may use this application.",
			linux: another, windows: another, darwin: another,
		},
	}
}
