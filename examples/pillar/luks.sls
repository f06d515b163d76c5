# What every host with an encrypted volume has in common. A host's own file says the rest, its key above all.
vg_name: data
mountpoint: /srv/data
fstype: ext4
