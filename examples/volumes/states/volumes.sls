# Every volume that the pillar declares under `volumes:`, each as a whole: made on blank devices, opened, mounted, and then
# what depends on it. What a second run finds in order it leaves alone.
{{#each pillar.volumes}}
volume-{{@key}}:
  volume.running:
    - name: {{@key}}
{{/each}}
