# Which pillar files a host gets; its own file hosts/<id>.yaml is always merged last.
base:
  '*':
    - luks
