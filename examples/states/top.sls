# Which states a host gets. Every host here has one encrypted volume; what runs on it is said in its pillar
# (`dependents`), so that one top file serves them all.
base:
  '*':
    - luks
