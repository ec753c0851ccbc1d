import { expect, test } from 'bun:test'
import { demo, file, rnb, run } from './rnb.ts'

const NUMBERS: [string, string[]][] = [
  ['-v', ['0', '-1', '1.5', 'many', 'NaN', 'Infinity', '16777217', '9e99']],
  ['-mi', ['-1', '-0.001', 'soon', 'NaN', 'Infinity']],
  ['-b', ['0', '-1', '2.5', 'x', 'NaN', '40000']],
  ['-qs', ['0', '-5', '1.5', 'x', 'NaN', '16777217']],
  ['--rate', ['0', '-1', 'x', 'NaN', 'Infinity', '5e-324']],
  ['--max-batch-delay-ms', ['-1', 'x', 'NaN']],
  ['--seed', ['-1', '1.5', 'x', 'NaN']],
  ['--warmup', ['-1', '0.5', 'x']],
  ['--top', ['0', '-1', '1.5', 'x', '9e9']],
  ['--duration', ['0', '-1', 'x', 'NaN']],
  ['--slo-ms', ['0', '-1', 'x']],
  ['--concurrency', ['0', '-1', '1.5', 'x']],
  ['--timeout-ms', ['0', '-1', 'x', 'NaN', 'Infinity']],
  ['--stall-ms', ['-1', 'x', 'NaN', 'Infinity']],
]
const LONG: Record<string, string> = {
  '-v': '--videos',
  '-mi': '--mean_interval_ms',
  '-b': '--batch_size',
  '-qs': '--queue_size',
}

async function refused(args: readonly string[], said: string): Promise<void> {
  const { status, stdout, stderr } = await run(demo.config, args)
  expect({ args, status, stdout }).toEqual({ args, status: 2, stdout: '' })
  expect(stderr).toStartWith('rnb: ')
  expect(stderr).toContain(said)
  expect(stderr).not.toContain('    at ')
}

test.each(NUMBERS)('%s is held to its range', async (flag, values) => {
  const name = LONG[flag] ?? flag
  for (const value of values) await refused([flag, value], name)
})

test('words are held to those that there are', async () => {
  await refused(['--arrival', 'sometimes'], '--arrival is one of poisson, constant, bulk, mmpp:RATE@MS')
  await refused(['--arrival', 'mmpp:5@x,1@1'], 'give two or more states as RATE@MS')
  await refused(['--arrival', 'trace:/nowhere/trace.jsonl'], 'cannot be read (ENOENT)')
  await refused(['--device', 'tpu'], '--device is one of cpu, cuda, auto')
  await refused(['--on-full', 'block'], '--on-full is one of abort, drop, wait')
  await refused(['--on-error', 'retry'], '--on-error is one of skip, abort')
  await refused(['--quiet=maybe'], '--quiet takes true or false')
})

test('flags that contradict each other are refused', async () => {
  await refused(['--arrival', 'poisson', '-mi', '0'], '--mean_interval_ms above 0')
  await refused(['--arrival', 'constant', '-mi', '0'], '--mean_interval_ms above 0')
  await refused(['--concurrency', '2', '--arrival', 'poisson'], '--concurrency is a closed loop')
  await refused(['--concurrency', '2', '--rate', '5'], '--concurrency is a closed loop')
  await refused(['--arrival', 'mmpp:1@1,2@2', '--rate', '5'], '--rate has no use with --arrival mmpp')
  const trace = file('trace.jsonl', '{"at_ms": 0, "video": "a.mp4"}\n')
  await refused(['--arrival', `trace:${trace}`, '--video-root', 'x'], '--video-root has no use')
  await refused(['--duration', '1e9', '-mi', '0.001'], 'more than 16777216 requests')
})

test('a flag that lacks its value is refused', async () => {
  const flags = [
    '-v',
    '-mi',
    '-b',
    '-qs',
    '--rate',
    '--seed',
    '--arrival',
    '--device',
    '--on-error',
    '--weights',
  ]
  for (const flag of [...flags, '--labels', '--video-root', '--duration', '--top', '--results', '-c'])
    await refused([flag], 'Not enough arguments')
  await refused(['--results', '-v', '2'], 'Not enough arguments')
})

test('flags and commands that there are not are refused', async () => {
  await refused(['--vidoes', '3'], 'Unknown argument: vidoes')
  await refused(['-x'], 'Unknown argument: x')
  await refused(['a-word'], 'Unknown argument: a-word')
  const calls: [string[], string][] = [
    [['frobnicate'], 'frobnicate'],
    [['doctor', '--fast'], 'fast'],
    [['infer', 'a.mp4', '--fast'], 'fast'],
    [['infer'], 'name one or more videos'],
    [['weights'], 'inspect'],
    [['weights', 'burn', 'x'], 'burn'],
    [['config'], 'check'],
    [['config', 'check'], 'argument'],
  ]
  for (const [args, said] of calls) {
    const { status, stdout, stderr } = await rnb(args)
    expect({ args, status, stdout }).toEqual({ args, status: 2, stdout: '' })
    expect(stderr).toContain(said)
  }
})

test('without any flag, it says what is missing', async () => {
  const { status, stdout, stderr } = await rnb([])
  expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
  expect(stderr).toContain('no videos: give --video-root')
})
