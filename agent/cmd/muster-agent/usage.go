package main

const usage = `muster-agent tells a muster-server what is true of this machine.

Usage: muster-agent COMMAND [OPTIONS]

  run         enrol if need be, then report until stopped: the service
  enroll      enrol this device once and tell where it stands
                --again        though enrolled: a new key needs an approval
  report      print what would be sent, as JSON; needs no server and no key
                --root DIR     of the Linux system below DIR; runs no program
  status      what the server last said, and what to fix
                --json         for programs
                --offline      do not ask the server
  doctor      look at everything that reporting needs
                --json         for programs
  config      print every setting and where it came from
                --json         for programs
  version     print the version

  install, uninstall, start, stop, restart
              this program as a service of the system

Options of every command but version and the service's:

  --server URL        the server: https://host[:port]
  --token-file FILE   private file with an enrolment token
  --tpm WHERE         auto, device:PATH, unix:PATH, tcp:HOST:PORT, none
  --profile NAME      corporate, or byod: send less of a personal machine
  --state-dir DIR     private folder of the agent
  --ca-file FILE      more roots for the server's certificate, PEM
  --log-level LEVEL   debug, info, warn, error
  --config FILE       settings file, JSON: {"server": "...", "tpm": "auto"}

Settings come from, strongest first: managed settings of the administrator,
options, environment (MUSTER_SERVER, MUSTER_TOKEN_FILE, ...), settings file.
A token is never an option and never in the environment.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not fit (status, doctor).
`
