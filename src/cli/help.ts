/** Texts below the options of `--help`. */
export const HELP = {
  program: `
How it goes together:
  The master holds states, pillar and keys; each minion keeps one machine as its states say. A minion that boots leases
  its disk key from the master for the moment of use, opens and mounts its volumes, and starts what depends on them.

First steps:
  latchkey master                      on the master's machine, or its systemd unit
  latchkey minion                      on each host; its key then waits at the master
  latchkey keys list                   who waits; compare the fingerprint with the host's
  latchkey keys accept web1
  latchkey pillar edit web1            the host's settings and secrets, in your editor
  latchkey highstate web1 --test       what would change
  latchkey highstate web1              change it

Exit status: 0 all well; 1 a host failed or did not answer; 2 a mistake in arguments or files; 3 a command or file of
this machine failed; 4 the master cannot be reached; 5 refused; 6 unreadable answer; 70 a defect in latchkey.`,
  target: `
Targets: a glob on minion ids ('web*'); with -L a list (web1,db1); with -G a grain (os_family:Debian).
A host that does not acknowledge within --timeout is not waited for; one that runs the job is given up when it is silent
for so long, and for two of the master's heartbeats at least.`,
  highstate: `
Examples:
  latchkey highstate web1
  latchkey highstate 'db*' --test --out json
  latchkey highstate -G role:database`,
  apply: `
Examples:
  latchkey apply web1 luks luks.mariadb
  latchkey apply -L web1,web2 motd --test`,
  run: `
Arguments are text, or numbers, true, false, null and JSON where they read as such; key=value is a keyword argument.
Put -- before arguments that begin with a dash.

Examples:
  latchkey run '*' test.ping
  latchkey run web1 cmd.run 'uptime'
  latchkey run web1 disk.usage --out yaml
  latchkey run web1 state.show_sls luks`,
  call: `
Examples:
  latchkey call test.ping
  latchkey call state.highstate --test
  latchkey call --local --file-root states --pillar-root pillar state.apply luks`,
  keys: `
A minion's key waits (pending) until it is accepted. Compare its fingerprint with what the host's own log shows before
you accept it: an accepted key may lease the secrets that the host's pillar names.
"denied" is another key that asked for an id already taken: a reinstalled host, or somebody else.
"barred" is an accepted key whose rejection or deletion could not be recorded: it is refused until the master
stops, or until it is accepted by its full name.

Examples:
  latchkey keys list pending
  latchkey keys accept 'web*'
  latchkey keys delete old-host --yes`,
  audit: `
Each record is bound to the one before by its hash, and the master signs the chain as it grows; minions keep what it
signed. verify exits with 0 only when there is no fault, and names each record that is at fault.

Examples:
  latchkey audit log --minion 'db*' --since 2h
  latchkey audit log --follow --kind 'deny'
  latchkey audit show 4711
  latchkey audit verify --witness
  latchkey audit export audit.jsonl
  latchkey audit verify audit.jsonl --fingerprint SHA256:…      anywhere, without a master`,
  backup: `
The master writes the file itself, while it works on. What it encrypts is of use with its identities alone, so keep those and
the trees too, apart from it; docs/BACKUP.md says how to restore. A backup from before a rotation lacks the newest key.

Examples:
  latchkey backup /mnt/backup/store.db
  latchkey backup /mnt/backup/store.db --force`,
  identity: `
The file stays one that stock age reads: \`age -d -i age.key\` asks for the passphrase. The master takes it from
--passphrase-fd, else from the systemd credential "latchkey-passphrase", else it asks on its terminal.

Examples:
  latchkey identity protect
  systemd-ask-password -n | latchkey identity protect --passphrase-fd 0`,
  secret: `
A value is never an argument: it comes from standard input, or is typed without being shown. \`show\` needs
allow_secret_show: true in the master's configuration.

Examples:
  latchkey secret list
  head -c 32 /dev/urandom | latchkey secret set web1 disk:password --stdin
  latchkey secret show web1 disk:password --yes | cryptsetup open --key-file - /dev/vg0/data data
  latchkey secret history web1 disk:password
  latchkey secret import web1 disk:password    from the pillar file into the store, same bytes
  latchkey secret rekey                        after recovery_recipients changed
  latchkey secret rekey --identity             a new age identity for the master itself
  latchkey secret rekey --drop-old             destroy the one before, when nothing needs it any more`,
  lease: `
A lease waits (is held) when the release policy asks for approval, or when something it requires is not so. Approving
lets this one lease have its key, once, within the hour; the host opens its volume within a second of the last approval.

Examples:
  latchkey lease list --held
  latchkey lease show 4f2a
  latchkey lease approve 4f2a --operator ann
  latchkey lease revoke web1                 nothing is released to web1 any more
  latchkey lease allow web1`,
  operator: `
An operator makes a key pair where they work; the master gets the public half. The private half lies there under a
passphrase. Without any operators root approves alone; with operators only they do.

Examples:
  latchkey operator keygen
  latchkey operator add ann --key ann.pub`,
  policy: `
Examples:
  latchkey policy explain web1 disk:password
  latchkey policy explain web1 disk:password --new-boot --at 2026-12-24T18:00:00Z
  latchkey policy test release.yaml          with the cases in release.test.yaml`,
  reboot: `
Where the release policy asks for announced reboots, a host that restarts outside of such a window is held.

Examples:
  latchkey reboot web1
  latchkey reboot 'db*' --window 30m --operator ann
  latchkey reboot rack7-host --no-reboot     somebody works on it by hand`,
  volume: `
Volumes are what a host's pillar declares under volumes:. A target is minions, or minions/volume: 'db*', db1/data,
db1/data,logs. Without a volume's name all of the host's are meant.

Examples:
  latchkey volume plan db1                 what would be done, and to which disks; nothing is changed
  latchkey volume provision db1/data       make it on blank disks, open and mount it
  latchkey volume stop db1/data            stop what depends on it, unmount, close, deactivate
  latchkey volume stop db1/data --kill-holders
  latchkey volume start db1                bring up what is provisioned; never formats
  latchkey volume unprovision db1/data     erase its keyslots and remove it; asks for its name`,
  pillarEdit: `
Opens the host's pillar file in $VISUAL or $EDITOR, its secrets decrypted where the master's configuration permits it
(allow_secret_edit, true by default), else as ciphertext, which may stay or be replaced. Plaintext lives in memory
(tmpfs) in a directory for you alone, and is overwritten and removed when you are done, also when the editor crashes.
A mistake opens the editor again with the error on top; leave the file untouched then to give up.

  password: !secret correct horse      encrypted when saved
  disk_key: !generate                  made by the master at first use`,
} as const;
