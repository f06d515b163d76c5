# Every volume that the pillar declares under `volumes:`, each as a whole: made on blank devices, opened, mounted, and then
# what depends on it. One that lies inside of another comes after it, wherever the pillar has it. What a second run finds in
# order it leaves alone.
{{#each (volume_order pillar.volumes)}}
volume-{{this}}:
  volume.running:
    - name: {{this}}
{{/each}}
