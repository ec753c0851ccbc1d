import { expect, test } from 'bun:test'
import { binary, file, root, scratch } from './rnb.ts'

test('a synthetic pipeline needs no videos, and its labels are its requests’', () => {
  const { stdout, exitCode, stderr } = Bun.spawnSync(
    [binary, '-c', 'synthetic', '-v', '500', '-mi', '0', '--results', '-', '--log-dir', scratch(), '--quiet'],
    { cwd: root },
  )
  expect(stderr.toString()).toBe('')
  expect(exitCode).toBe(0)
  const results = stdout
    .toString()
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line))
  expect(results.pop().type).toBe('summary')
  expect(results.map(({ id }) => id).sort((a, b) => a - b)).toEqual(Array.from({ length: 500 }, (_, i) => i))
  for (const { id, top, decoder } of results) {
    expect(top[0].index).toBe(id % 10)
    expect(decoder).toBe('synthetic')
  }
})

test('a service time that is none is named', () => {
  const config = file(
    'bad.json',
    JSON.stringify({
      pipeline: [
        {
          model: 'synthetic-loader',
          queue_groups: [{ gpus: [-1] }],
          num_clips_population: [1],
          num_clips_weights: [1],
          service_ms: { exponential: -2 },
        },
      ],
    }),
  )
  const { exitCode, stderr } = Bun.spawnSync([binary, '-c', config, '-v', '5', '-mi', '0'], { cwd: root })
  expect(exitCode).toBe(2)
  expect(stderr.toString()).toContain('service_ms')
})
