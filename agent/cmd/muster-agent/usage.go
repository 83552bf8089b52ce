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
  link        tie the browser session of a page to this laptop
                'muster://...' the address by which the page opened this;
                               without it: choose a request, get a code to type
                --print        print the page that confirms, do not open it
  recover     begin the recovery of your passkeys by this laptop
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
  --link-port PORT    let the server's pages ask at 127.0.0.1:PORT which laptop
                      their browser is on; off by default
  --link-user USER    whose browser and commands may: name or number; default:
                      the person signed in at this machine's screen
  --config FILE       settings file, JSON: {"server": "...", "tpm": "auto"}

Settings come from, strongest first: managed settings of the administrator,
options, environment (MUSTER_SERVER, MUSTER_TOKEN_FILE, ...), settings file.
A token is never an option and never in the environment. status, link and
recover ask the running agent, where you may not read its state.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not fit (status, doctor).
`
