# MongoDB with its data on the encrypted volume. A dependent: name it in the pillar's `dependents`, and luks/init.sls
# requires itself into all of it; or in the top file, for it needs the mount by its own word too. The package (mongodb-org)
# is installed already and brings the user.
include:
  - luks

mongodb-datadir:
  file.directory:
    - name: {{pillar.mountpoint}}/mongodb
    - user: mongodb
    - group: mongodb
    - mode: '0700'
    - require:
      - luks: luks-key-wiped

mongodb-config:
  file.managed:
    - name: /etc/mongod.conf
    - contents: |
        storage:
          dbPath: {{pillar.mountpoint}}/mongodb
        systemLog:
          destination: file
          logAppend: true
          path: /var/log/mongodb/mongod.log
        net:
          bindIp: 127.0.0.1
          port: 27017
    - mode: '0644'

# enable: False, because systemd would start it at boot before the volume is there; the startup run does it.
mongod:
  service.running:
    - enable: False
    - require:
      - file: mongodb-datadir
    - watch:
      - file: mongodb-config
