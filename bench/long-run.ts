/**
 * What a long run does to memory, and which threads use how much of the processors.
 *
 *     bun bench/long-run.ts [--every N] [--from N] [--save] COMMAND...
 *
 * COMMAND is a run of rnb, such as `dist/rnb -c config/r2p1d-whole.json -v 10000 -mi 0 -qs 10000 --video-root DIR`;
 * `--results -` is added to it. Each N results the process's resident memory is looked at, and each fifth of a second
 * the processor time of its threads, by the names that they have in the system. Growth is from the result numbered
 * --from (1000) to the largest after it. GPU memory is what nvidia-smi says of the first GPU, where that is installed.
 * Linux only: it reads /proc.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { parseArgs } from 'node:util'
import { report } from './report.ts'

const { values: options, positionals: command } = (() => {
  const args = process.argv.slice(2)
  const own = args.findIndex(
    (value, i) => !value.startsWith('--') && !/^--(every|from)$/.test(args[i - 1] ?? ''),
  )
  const { values } = parseArgs({
    args: args.slice(0, own < 0 ? args.length : own),
    options: {
      every: { type: 'string', default: '250' },
      from: { type: 'string', default: '1000' },
      save: { type: 'boolean' },
    },
  })
  return { values, positionals: own < 0 ? [] : args.slice(own) }
})()
if (command.length === 0) {
  console.error('usage: bun bench/long-run.ts [--every N] [--from N] [--save] COMMAND...')
  process.exit(2)
}

const CLOCK_TICKS_PER_S = 100
const MIB = 1024

const residentMib = (pid: number): number => {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / MIB)
}

/**
 * What is resident, by kind of mapping. Anonymous memory goes by the reservation that it lies in, a chain of mappings without a gap:
 * its size tells whose it is (a C library's arena 64 MiB, room for code 1 GiB, ...).
 */
function residentByKind(pid: number): Map<string, number> {
  const kinds = new Map<string, number>()
  const add = (kind: string, kib: number) => kinds.set(kind, (kinds.get(kind) ?? 0) + kib / MIB)
  let chain = { from: 0, to: 0, kib: 0, code: 0 }
  const end = () => {
    const mib = Math.ceil((chain.to - chain.from) / 2 ** 20)
    const rounded = 2 ** Math.ceil(Math.log2(Math.max(1, mib)))
    add(`anonymous, of at most ${rounded} MiB`, chain.kib)
    add('code made at run time', chain.code)
    chain = { from: 0, to: 0, kib: 0, code: 0 }
  }
  const mappings = readFileSync(`/proc/${pid}/smaps`, 'utf8').split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)
  for (const mapping of mappings) {
    const [, from, to, mode, path] = /^(\S+)-(\S+) (\S+) \S+ \S+ \S+ *(.*)$/m.exec(mapping) ?? []
    if (from === undefined) continue
    const kib = Number(/^Rss:\s+(\d+)/m.exec(mapping)?.[1] ?? 0)
    const [begin, limit] = [from, to!].map(hex => Number.parseInt(hex, 16))
    if (path !== '' || mode!.endsWith('s')) {
      end()
      add(mode!.endsWith('s') ? 'shared' : path!.startsWith('[') ? path! : 'files', kib)
      continue
    }
    if (begin !== chain.to) {
      end()
      chain.from = begin!
    }
    chain.to = limit!
    if (mode!.includes('x')) chain.code += kib
    else chain.kib += kib
  }
  end()
  return kinds
}

const gpuMib = (): number | undefined => {
  if (Bun.which('nvidia-smi') === null) return undefined
  const { stdout } = Bun.spawnSync([
    'nvidia-smi',
    '-i',
    '0',
    '--query-gpu=memory.used',
    '--format=csv,noheader,nounits',
  ])
  return Number(stdout.toString())
}

interface ThreadTime {
  name: string
  user_s: number
  system_s: number
}

/** Adds what threads have used so far; of those that are gone, what was seen last stays. */
function lookAtThreads(pid: number, known: Map<string, ThreadTime>): void {
  for (const id of readdirSync(`/proc/${pid}/task`)) {
    const stat = readFileSync(`/proc/${pid}/task/${id}/stat`, 'utf8')
    const end = stat.lastIndexOf(')')
    const fields = stat.slice(end + 2).split(' ')
    const [user, system] = [fields[11], fields[12]].map(ticks => Number(ticks) / CLOCK_TICKS_PER_S)
    known.set(id, { name: stat.slice(stat.indexOf('(') + 1, end), user_s: user!, system_s: system! })
  }
}

// Without what makes a compiled executable act as `bun`.
const env = { ...process.env, BUN_BE_BUN: undefined }
const child = Bun.spawn([...command, '--results', '-', '--quiet'], { stdout: 'pipe', stderr: 'inherit', env })
const threads = new Map<string, ThreadTime>()
const watch = setInterval(() => {
  try {
    lookAtThreads(child.pid, threads)
  } catch {
    // A thread, or the process, ended meanwhile: the next look has what is left.
  }
}, 200)

const samples: { results: number; rss_mib: number; gpu_mib?: number }[] = []
let results = 0
const kinds: Map<string, number>[] = []
let summary: { throughput?: unknown } | undefined
for await (const line of createInterface({ input: Readable.fromWeb(child.stdout as never) })) {
  const { type, ...rest } = JSON.parse(line) as { type: string }
  if (type === 'summary') summary = rest
  else if (type === 'result' || type === 'error') {
    if (++results === Number(options.from) || results % (10 * Number(options.every)) === 0)
      kinds.push(residentByKind(child.pid))
    if (results % Number(options.every) !== 0) continue
    const gpu = gpuMib()
    samples.push({ results, rss_mib: residentMib(child.pid), ...(gpu !== undefined && { gpu_mib: gpu }) })
  }
}
clearInterval(watch)
const status = await child.exited

const byName = new Map<string, { threads: number; user_s: number; system_s: number }>()
for (const { name, user_s, system_s } of threads.values()) {
  const sum = byName.get(name) ?? { threads: 0, user_s: 0, system_s: 0 }
  byName.set(name, {
    threads: sum.threads + 1,
    user_s: sum.user_s + user_s,
    system_s: sum.system_s + system_s,
  })
}
const after = samples.filter(sample => sample.results >= Number(options.from))
const growth = (of: 'rss_mib' | 'gpu_mib') =>
  after.length < 2 ? undefined : Math.max(...after.map(s => s[of] ?? 0)) - (after[0]![of] ?? 0)
/** By kind: MiB at --from, and how much more there is later, at the last look. */
const grown = [...(kinds.at(-1) ?? [])]
  .map(([kind, mib]) => ({
    kind,
    from_mib: kinds[0]!.get(kind) ?? 0,
    growth_mib: mib - (kinds[0]!.get(kind) ?? 0),
  }))
  .sort((a, b) => b.growth_mib - a.growth_mib)
const used = [...byName].sort(([, a], [, b]) => b.user_s + b.system_s - a.user_s - a.system_s).slice(0, 12)
report({
  benchmark: 'long-run',
  results: {
    status,
    results,
    throughput: summary?.throughput,
    growth: { from: Number(options.from), rss_mib: growth('rss_mib'), gpu_mib: growth('gpu_mib') },
    samples,
    kinds: grown,
    threads: Object.fromEntries(used),
  },
  table: [
    ['results', 'host MiB', 'GPU MiB'],
    ...samples.map(({ results, rss_mib, gpu_mib }) => [results, rss_mib, gpu_mib ?? '-'].map(String)),
    ['memory', `MiB at ${options.from}`, 'then more'],
    ...grown.map(({ kind, from_mib, growth_mib }) => [kind, from_mib.toFixed(1), growth_mib.toFixed(1)]),
    ['thread', 'user s', 'system s'],
    ...used.map(([name, { threads, user_s, system_s }]) => [
      `${name.trim()} (${threads})`,
      user_s.toFixed(2),
      system_s.toFixed(2),
    ]),
  ],
  save: options.save === true,
})
process.exit(status)
