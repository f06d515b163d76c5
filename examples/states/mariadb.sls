# MariaDB with its data on the encrypted volume. A dependent: name it in the pillar's `dependents`, and luks/init.sls
# requires itself into all of it; or in the top file, for it needs the mount by its own word too. The packages
# (mariadb-server) are installed already; their own data directory in /var/lib/mysql is left alone.
include:
  - luks

# Made beside its place and moved there whole: a power cut in between leaves nothing that looks finished.
mariadb-datadir:
  cmd.run:
    - name: >-
        rm -rf -- '{{pillar.mountpoint}}/mysql.new' &&
        install -d -o mysql -g mysql -m 0700 '{{pillar.mountpoint}}/mysql.new' &&
        mariadb-install-db --user=mysql --datadir='{{pillar.mountpoint}}/mysql.new'
        --auth-root-authentication-method=socket --skip-test-db &&
        sync &&
        mv -- '{{pillar.mountpoint}}/mysql.new' '{{pillar.mountpoint}}/mysql'
    - creates: {{pillar.mountpoint}}/mysql
    - require:
      - luks: luks-key-wiped

mariadb-datadir-owner:
  file.directory:
    - name: {{pillar.mountpoint}}/mysql
    - user: mysql
    - group: mysql
    - mode: '0700'
    - require:
      - cmd: mariadb-datadir

mariadb-config:
  file.managed:
    - name: /etc/mysql/mariadb.conf.d/60-volume.cnf
    - contents: |
        [mysqld]
        datadir = {{pillar.mountpoint}}/mysql
    - mode: '0644'

# enable: False, because systemd would start it at boot before the volume is there; the startup run does it.
mariadb:
  service.running:
    - enable: False
    - require:
      - file: mariadb-datadir-owner
    - watch:
      - file: mariadb-config
