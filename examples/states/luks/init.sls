# The just-in-time volume: disk > PV > VG > LV > LUKS > file system > mount, with a key that is leased for the moment
# and never written on this host. The first run builds it on a blank disk, every later one opens it.
#
# Pillar: password (the key: !generate or !secret), vg_name (also the logical volume's name), mountpoint, dev_name (the
# disk); fstype and dependents (SLS files of services that live on the volume) when wanted.
{{#if pillar.dependents}}
include:
{{#each pillar.dependents}}
  - {{this}}
{{/each}}
{{/if}}

luks-pv:
  lvm.pv_present:
    - name: {{pillar.dev_name}}
    - vg: {{pillar.vg_name}}

luks-vg:
  lvm.vg_present:
    - name: {{pillar.vg_name}}
    - devices: {{pillar.dev_name}}
    - require:
      - lvm: luks-pv

luks-lv:
  lvm.lv_present:
    - name: {{pillar.vg_name}}
    - vgname: {{pillar.vg_name}}
    - size: 100%FREE
    - require:
      - lvm: luks-vg

# Only a blank volume is ever formatted; what holds anything, a LUKS header of another key too, is refused.
luks-format:
  luks.formatted:
    - name: /dev/{{pillar.vg_name}}/{{pillar.vg_name}}
    - key: {{pillar.password}}
    - require:
      - lvm: luks-lv

luks-open:
  luks.opened:
    - name: {{pillar.vg_name}}_crypt
    - device: /dev/{{pillar.vg_name}}/{{pillar.vg_name}}
    - key: {{pillar.password}}
    - require:
      - luks: luks-format

luks-filesystem:
  fs.formatted:
    - name: /dev/mapper/{{pillar.vg_name}}_crypt
    - fstype: {{pillar "fstype" "ext4"}}
    - require:
      - luks: luks-open

luks-mount:
  mount.mounted:
    - name: {{pillar.mountpoint}}
    - device: /dev/mapper/{{pillar.vg_name}}_crypt
    - fstype: {{pillar "fstype" "ext4"}}
    - mkmnt: True
    - require:
      - fs: luks-filesystem

# The key is wiped after each use whatever happens; this says in the run's return when it was leased, used and wiped.
# Dependents wait for it, and so for the mount: if anything above fails, none of them is touched.
luks-key-wiped:
  luks.key_wiped:
    - name: {{pillar.password}}
    - require:
      - mount: luks-mount
{{#if pillar.dependents}}
    - require_in:
{{#each pillar.dependents}}
      - sls: {{this}}
{{/each}}
{{/if}}
