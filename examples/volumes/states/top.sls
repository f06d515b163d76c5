# One state for every host: what it has to bring up is in its pillar.
base:
  '*':
    - volumes
