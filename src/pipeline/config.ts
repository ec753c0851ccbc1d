import { readFileSync, statSync } from 'node:fs'
import { basename, dirname, resolve } from 'node:path'
import * as v from 'valibot'
import { UsageError } from '../errors.ts'
import type { Device, StepKind, StepOptions } from '../steps/step.ts'
import { builtinFile, builtinNames } from './builtin-files.ts'
import { type Graph, stepGraph } from './graph.ts'
import { hashOf } from './hash.ts'
import { jsonFault } from './json.ts'
import { type Path, Problems, pathText } from './problems.ts'
import { ownName, type Registry } from './registry.ts'
import {
  anyStepSchema,
  DEFAULT_SLOTS,
  fileSchema,
  type GroupInput,
  PLACING_KEYS,
  type StepInput,
  WIRING_KEYS,
} from './schema.ts'
import { didYouMean } from './suggest.ts'
import { checkWiring } from './wiring.ts'

/** A group of a step's instances, which share queues and options. */
export interface ConfigGroup {
  /** One instance for each entry; -1 is the CPU. */
  gpus: Device[]
  /** Undefined for the first step, which takes from the client. */
  inQueue?: number
  /** Empty for the last step. */
  outQueues: number[]
  /** This project's name. */
  selector: string
  selectorOptions: SelectorOptions
  /** Output slots of each instance. */
  slots: number
  segments: number
  /** The step's keys with the group's over them, checked by the kind's schema. */
  options: StepOptions
}

export interface SelectorOptions {
  clip_threshold?: number
}

export interface ConfigStep {
  kind: StepKind
  /** As the file calls it. */
  name?: string
  /** Indices of the steps that it reads from; none for the first, which takes from the client. */
  sources: number[]
  /** Indices of the steps that read from it; none where results leave the pipeline. */
  readers: number[]
  groups: ConfigGroup[]
}

/** A pipeline file, checked. */
export interface Config {
  name: string
  description?: string
  /** The file, as given; undefined if the configuration was made by other means. */
  file?: string
  /** Text of the file, for a copy beside the results. */
  text?: string
  /** The folder that paths in it start from. */
  folder: string
  /** This project's name. */
  iterator: string
  /** Absolute paths (`videoRoot` may be a glob). */
  videoRoot?: string
  weights?: string
  labels?: string
  steps: ConfigStep[]
  /** Of all that influences a run: equal for equal contents, whatever the spacing, order, name and description. */
  hash: string
}

/** Where a configuration comes from: its name in messages, and the folder that its paths start from. */
export interface Source {
  name: string
  folder: string
}

const keysOf = (issue: v.BaseIssue<unknown>): Path =>
  (issue.path ?? []).map(item => item.key as string | number)

const NOUNS: Readonly<Record<string, string>> = {
  number: 'a number',
  string: 'a text',
  boolean: 'true or false',
  Array: 'a list',
  Object: 'an object',
  integer: 'a whole number',
}

const BOUNDS: Readonly<Record<string, (bound: unknown) => string>> = {
  min_value: bound => `at least ${bound}`,
  max_value: bound => `at most ${bound}`,
  gt_value: bound => `above ${bound}`,
  lt_value: bound => `below ${bound}`,
  min_length: bound => `of length ${bound} or more`,
  max_length: bound => `of length ${bound} or less`,
  length: bound => `of length ${bound}`,
}

/** What a schema wants of a value: its own wording where it has one. */
function right(issue: v.BaseIssue<unknown>): string {
  if (!issue.message.startsWith('Invalid ')) return issue.message
  if (issue.kind === 'schema') return `must be ${NOUNS[issue.expected ?? ''] ?? issue.expected}`
  return `must be ${NOUNS[issue.type] ?? BOUNDS[issue.type]?.(issue.requirement) ?? issue.expected ?? issue.type}`
}

/** Whether an issue says that a key is not known; schemas of this folder name the nearest one that is. */
const isUnknownKey = (issue: v.BaseIssue<unknown>): boolean =>
  issue.type === 'strict_object' && issue.expected === 'never'

function addIssue(problems: Problems, path: Path, issue: v.BaseIssue<unknown>): void {
  const holder = issue.path?.at(-1)
  // To valibot, a list is an object whose keys are wrong.
  if (holder?.type === 'object' && Array.isArray(holder.input))
    problems.add(path.slice(0, -1), holder.input, 'must be an object')
  else if (!isUnknownKey(issue)) problems.add(path, issue.input, right(issue))
  else if (issue.message.startsWith('Invalid '))
    problems.addText(path, `${pathText(path)} is not a known key`)
  else problems.addText(path, `${pathText(path)} ${issue.message}`)
}

const without = (input: GroupInput, ...keys: string[]): Record<string, unknown> =>
  Object.fromEntries(Object.entries(input).filter(([key]) => !WIRING_KEYS.has(key) && !keys.includes(key)))

/** The options of one group, or undefined after adding what is wrong with them. */
function groupOptions(kind: StepKind, step: StepInput, s: number, g: number, problems: Problems) {
  const group = step.queue_groups[g]!
  const own = without(group)
  const merged = { ...without(step, 'model', 'queue_groups', ...PLACING_KEYS), ...own }
  const result = v.safeParse(kind.options, merged)
  if (result.success) return result.output as StepOptions
  for (const issue of result.issues) {
    const keys = keysOf(issue)
    // Without a key it is about several at once: at home in the group if that has any of its own.
    const inGroup = keys.length > 0 ? Object.hasOwn(own, keys[0]!) : Object.keys(own).length > 0
    const base: Path = inGroup ? ['pipeline', s, 'queue_groups', g] : ['pipeline', s]
    if (keys.length > 0) addIssue(problems, [...base, ...keys], issue)
    else problems.addText(base, `${pathText(base)}: ${right(issue)}`)
  }
  return undefined
}

function configGroup(registry: Registry, step: StepInput, g: number, options: StepOptions): ConfigGroup {
  const keys = { ...step, ...step.queue_groups[g]! }
  const selector =
    keys.queue_selector === undefined ? undefined : ownName(registry.selectors, keys.queue_selector)
  return {
    gpus: keys.gpus ?? [],
    inQueue: keys.in_queue,
    outQueues: keys.out_queues ?? [],
    selector: selector ?? registry.selectors[0]?.[0] ?? '',
    selectorOptions: keys.clip_threshold === undefined ? {} : { clip_threshold: keys.clip_threshold },
    slots: keys.num_shared_tensors ?? DEFAULT_SLOTS,
    segments: keys.num_segments ?? 1,
    options,
  }
}

/** Adds what is wrong with the number of queues that a group's selector chooses among. */
function checkSelector(registry: Registry, step: StepInput, s: number, g: number, problems: Problems): void {
  const group = step.queue_groups[g]!
  const { queue_selector, out_queues } = { ...step, ...group }
  const name = queue_selector === undefined ? undefined : ownName(registry.selectors, queue_selector)
  const queues = name === undefined ? undefined : registry.selectorQueues?.get(name)
  if (queues === undefined || out_queues === undefined || out_queues.length === queues) return
  const place = Object.hasOwn(group, 'out_queues') ? ['queue_groups', g] : []
  problems.add(['pipeline', s, ...place, 'out_queues'], out_queues, `${name} chooses among ${queues} queues`)
}

/** Whether a problem at this path leaves it open which queues the steps use. */
function hidesQueues([top, , key, group, groupKey]: Path): boolean {
  const isQueue = (name: unknown) =>
    [undefined, 'in_queue', 'out_queues', ...PLACING_KEYS].includes(name as string | undefined)
  if (top !== undefined && top !== 'pipeline') return false
  return key === 'queue_groups' ? group === undefined || isQueue(groupKey) : isQueue(key)
}

/** Parts of the file that change nothing about a run. */
const REMARKS = new Set(['$schema', 'name', 'description'])

/**
 * Checks a pipeline (parsed JSON) and fills in defaults.
 * @throws {UsageError} that lists every problem: path in the file, value, what would be right
 */
export function checkConfig(value: unknown, registry: Registry, source: Source): Config {
  const problems = new Problems(source.name)
  const parsed = v.safeParse(fileSchema(registry), value)
  const issues = [...(parsed.issues ?? [])].map(issue => ({ issue, path: keysOf(issue) }))
  const input = value as { pipeline?: StepInput[] } & Record<string, unknown>
  const written = Array.isArray(input?.pipeline) ? input.pipeline : []
  // Nothing else of a step of unknown kind has been looked at yet.
  for (const { path } of issues.filter(({ path }) => path[2] === 'model' && path.length === 3)) {
    const s = path[1] as number
    const { issues: more } = v.safeParse(anyStepSchema(registry.selectors), written[s])
    issues.push(...(more ?? []).map(issue => ({ issue, path: ['pipeline', s, ...keysOf(issue)] })))
  }
  for (const { issue, path } of issues) addIssue(problems, path, issue)

  const broken = new Set(issues.map(({ path }) => path[1]))
  const kinds = written.map(step => registry.kinds.find(known => known.names.includes(step?.model)))
  const natures = kinds.map(kind => kind && { names: kind.names, joins: kind.joins ?? false })
  let graph: Graph | undefined
  if (!issues.some(({ path }) => hidesQueues(path))) {
    graph = stepGraph(written, natures, problems)
    if (graph) checkWiring(written, graph, problems)
  }
  const steps: ConfigStep[] = []
  written.forEach((step, s) => {
    const kind = broken.has(s) ? undefined : kinds[s]
    if (!kind) return
    const groups = step.queue_groups.map((_, g) => {
      checkSelector(registry, step, s, g, problems)
      const options = groupOptions(kind, step, s, g, problems)
      return options && configGroup(registry, step, g, options)
    })
    steps.push({
      kind,
      name: step.name,
      // Without a graph there are problems, and no configuration comes of this.
      sources: graph?.sources[s] ?? [],
      readers: graph?.readers[s] ?? [],
      groups: groups.filter(group => group !== undefined),
    })
  })
  problems.raise()

  const file = parsed.output as v.InferOutput<ReturnType<typeof fileSchema>>
  const at = (path: string | undefined) => (path === undefined ? undefined : resolve(source.folder, path))
  return {
    name: file.name ?? basename(source.name).replace(/\.json$/i, ''),
    description: file.description,
    folder: resolve(source.folder),
    iterator: ownName(registry.iterators, file.video_path_iterator ?? '') ?? registry.iterators[0]?.[0] ?? '',
    videoRoot: at(file.video_root),
    weights: at(file.weights),
    labels: at(file.labels),
    steps,
    hash: hashOf(Object.fromEntries(Object.entries(input).filter(([key]) => !REMARKS.has(key)))),
  }
}

/** What a name of a file that is not there may have meant. */
function meant(path: string): string {
  if (path.includes('/') || path.includes('\\')) return ''
  return `, and none that comes with the program; ${didYouMean(path.replace(/\.json$/, ''), builtinNames())}`
}

function readText(path: string): string {
  try {
    if (statSync(path).isDirectory()) throw new UsageError(`${path} is a folder: name a pipeline file (JSON)`)
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (error instanceof UsageError) throw error
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR')
      throw new UsageError(`${path}: no such pipeline file${meant(path)}`)
    if (code === 'EACCES' || code === 'EPERM')
      throw new UsageError(`${path}: no permission to read this pipeline file`)
    throw new UsageError(`${path}: the pipeline file cannot be read (${message})`)
  }
}

/**
 * Reads and checks a pipeline file, or one that came with the executable. Paths in it are relative to it.
 * @param gpus that the host has, for which one that came with the executable is chosen
 * @throws {UsageError} if it cannot be read, is not JSON (line and column), or does not describe a pipeline
 */
export function loadConfig(path: string, registry: Registry, gpus = Number.POSITIVE_INFINITY): Config {
  const builtin = builtinFile(path, gpus)
  const file = builtin?.path ?? path
  const text = (builtin?.text ?? readText(path)).replace(/^\uFEFF/, '')
  const fault = text.trim() === '' ? { line: 1, column: 1, message: 'the file is empty' } : jsonFault(text)
  if (fault) throw new UsageError(`${file}:${fault.line}:${fault.column}: not JSON: ${fault.message}`)
  const config = checkConfig(JSON.parse(text), registry, { name: file, folder: dirname(resolve(file)) })
  return { ...config, file, text }
}
