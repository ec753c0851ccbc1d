import { afterAll, expect, test } from 'bun:test'
import { execFileSync } from 'node:child_process'
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { UsageError } from '../../src/errors.ts'
import { type OutputOptions, RunOutput } from '../../src/results/output.ts'
import { People } from '../../src/results/progress.ts'
import { FLAGS, fakeRun, filesOf, START_NS } from './fake-run.ts'
import { Screen } from './screen.ts'

const root = mkdtempSync(join(tmpdir(), 'rnb-output-'))
afterAll(() => rmSync(root, { recursive: true }))

const END = { status: 0, reason: 'done', endNs: START_NS + 1e9, highWater: [1, 1], termination: 0 } as const
let files = 0

/** Three requests, of which the second fails, through all outputs. */
async function play(options: Partial<OutputOptions>) {
  const stdout = join(root, `stdout-${files++}`)
  const fd = options.stdout ?? openSync(stdout, 'w')
  const screen = new Screen(false)
  let closed = 0
  const output = new RunOutput({
    facts: fakeRun(3).facts,
    flags: FLAGS,
    config: { file: 'pipeline.json', text: '{}' },
    quiet: false,
    onClosed: () => closed++,
    stdout: fd,
    people: new People(options.quiet ?? false, screen),
    ...options,
  })
  const saidFirst = screen.text
  output.started(START_NS)
  output.note('decoded elsewhere')
  output.note('decoded elsewhere')
  output.completed(2, 0)
  output.failed(1, 0, 'damaged', 'a frame is damaged')
  output.completed(0, 0)
  const summary = await output.finish(END)
  closeSync(fd)
  const text = existsSync(stdout) ? readFileSync(stdout, 'utf8') : ''
  const lines = text.split('\n').filter(line => line !== '')
  return { lines: lines.map(line => JSON.parse(line)), said: screen.text, saidFirst, summary, closed }
}

test('standard output has each outcome and, last, the summary', async () => {
  const { lines, said } = await play({ results: '-', logRoot: join(root, 'logs') })
  expect(lines.map(({ type, id }) => [type, id])).toEqual([
    ['result', 2],
    ['error', 1],
    ['result', 0],
    ['summary', undefined],
  ])
  const folder = lines[3].log_dir
  expect(filesOf(folder)).toContain('g-1-r0.txt')
  expect(
    readFileSync(join(folder, 'results.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map(line => JSON.parse(line)),
  ).toEqual(lines)
  expect(JSON.parse(readFileSync(join(folder, 'summary.json'), 'utf8'))).toEqual(lines[3])
  const heads = said.split('\n').map(line => line.split(' ')[0])
  expect(heads.slice(0, 5)).toEqual(['Args:', 'START!', 'Finished', 'FINISH!', 'That'])
  expect(said).toContain('Average time between enqueue_filename and runner0_start: ')
  expect(said).toContain(`logs are in ${folder}\n`)
})

test('a note is in the summary, and said at once to those who ask for that', async () => {
  const [plain, verbose] = [await play({}), await play({ verbose: true })]
  expect(plain.summary.notes).toEqual(['decoded elsewhere'])
  const during = ({ said }: typeof plain) =>
    said.slice(0, said.indexOf('FINISH!')).match(/note: decoded elsewhere/g)
  expect(during(plain)).toBeNull()
  expect(during(verbose)).toHaveLength(1)
})

test('without --results it has the summary only', async () => {
  const { lines } = await play({})
  expect(lines.map(({ type }) => type)).toEqual(['summary'])
  expect(lines[0]).not.toHaveProperty('log_dir')
})

test('a file of results is there in the end, with the summary', async () => {
  const results = join(root, 'results.jsonl')
  const { lines } = await play({ results })
  const inFile = readFileSync(results, 'utf8')
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
  expect(inFile.map(({ type }) => type)).toEqual(['result', 'error', 'result', 'summary'])
  expect(lines).toEqual([inFile[3]])
  expect(filesOf(root).filter(name => name.includes('partial'))).toEqual([])
})

test('a file of results that cannot be written is wrong use', () => {
  const results = join(root, 'no', 'such', 'folder.jsonl')
  expect(play({ results })).rejects.toThrow(UsageError)
})

test('logs that cannot be written are said at once, and results go on', async () => {
  const file = join(root, 'a-file')
  writeFileSync(file, '')
  const { lines, saidFirst } = await play({ results: '-', logRoot: file })
  expect(saidFirst).toContain(`warning: no logs can be written to ${file}: E`)
  expect(lines.map(({ type }) => type)).toEqual(['result', 'error', 'result', 'summary'])
  expect(lines[3].warnings[0]).toStartWith(`no logs can be written to ${file}`)
})

test('a disk that is full at the end is a warning in the summary', async () => {
  const { lines, said, summary } = await play({ results: '/dev/full' })
  expect(summary.warnings.at(-1)).toContain('/dev/full could not be written: ENOSPC')
  expect(lines[0].warnings).toEqual(summary.warnings)
  expect(said).toContain('warning: /dev/full')
})

test('a reader that has gone is told of once, and nothing is thrown', async () => {
  const pipe = join(root, 'pipe')
  execFileSync('mkfifo', [pipe])
  const both = openSync(pipe, 'r+')
  const stdout = openSync(pipe, 'w')
  closeSync(both)
  const { closed, lines } = await play({ results: '-', stdout })
  expect(closed).toBe(1)
  expect(lines).toEqual([])
})

test('quiet says nothing', async () => {
  const { said, lines } = await play({ quiet: true })
  expect(said).toBe('')
  expect(lines).toHaveLength(1)
})

test('a run that never began leaves no files', () => {
  const logRoot = join(root, 'discarded')
  const results = join(root, 'discarded.jsonl')
  const output = new RunOutput({
    facts: fakeRun(1).facts,
    flags: FLAGS,
    config: { file: 'pipeline.json', text: '{}' },
    quiet: true,
    onClosed() {},
    results,
    logRoot,
  })
  expect(filesOf(logRoot)).toHaveLength(1)
  output.discard()
  expect(filesOf(logRoot)).toEqual([])
  expect(filesOf(root).filter(name => name.includes('discarded.jsonl'))).toEqual([])
})
