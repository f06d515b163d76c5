# A host's own file hosts/<id>.yaml is always merged; there is nothing that all of them share.
base: {}
