import { expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as v from 'valibot'
import { summarySchema } from '../../src/results/schema.ts'
import { telemetryLineSchema } from '../../src/telemetry/lines.ts'
import { binary, demo, root, scratch } from './rnb.ts'

test('sensors are read while a run goes on', () => {
  const logs = scratch()
  const { stdout, exitCode } = Bun.spawnSync(
    [
      binary,
      '-c',
      demo.config,
      '-v',
      '12',
      '-mi',
      '50',
      '--telemetry-ms',
      '20',
      '--log-dir',
      logs,
      '--quiet',
    ],
    { cwd: root },
  )
  expect(exitCode).toBe(0)
  const { telemetry } = v.parse(summarySchema, JSON.parse(stdout.toString()))
  expect(telemetry!.host.resident_bytes!.max).toBeGreaterThan(2 ** 20)
  const [folder] = readdirSync(logs)
  const lines = readFileSync(join(logs, folder!, 'telemetry.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
  expect(lines.length).toBe(telemetry!.samples)
  const seconds = lines.map(line => v.parse(telemetryLineSchema, JSON.parse(line)).s)
  expect(seconds[0]).toBeGreaterThanOrEqual(0)
  expect(seconds).toEqual(seconds.toSorted((a, b) => a - b))
})

test('a period that is none is named', () => {
  const { exitCode, stderr } = Bun.spawnSync([binary, '-c', demo.config, '--telemetry-ms', '0'], {
    cwd: root,
  })
  expect(exitCode).toBe(2)
  expect(stderr.toString()).toContain('--telemetry-ms must be at least 1')
})
