import * as v from 'valibot'
import type { StepKind } from '../steps/step.ts'
import { MODULE_PATH } from '../steps/user/module.ts'
import { allNames, type Names, type Registry } from './registry.ts'
import { didYouMean } from './suggest.ts'

/** Slots of an instance's outputs if a file does not say (RnB's number). */
export const DEFAULT_SLOTS = 10

type Entries = Record<string, v.GenericSchema>

/** Far above any use; what counts more would not fit into memory. */
const MOST = 1_000_000

const whole = (least: number, meaning: string) => {
  const message = `must be a whole number from ${least} to ${MOST}`
  return v.pipe(
    v.number(message),
    v.integer(message),
    v.minValue(least, message),
    v.maxValue(MOST, message),
    v.description(meaning),
  )
}

const text = (meaning: string) =>
  v.pipe(v.string('must be a text'), v.minLength(1, 'must not be empty'), v.description(meaning))

const list = <T extends v.GenericSchema>(entry: T, message: string) =>
  v.pipe(v.array(entry, message), v.minLength(1, message))

/** What to say of a value that is no name of the table. */
const noName = (value: unknown, table: readonly Names[], what: string): string => {
  if (typeof value !== 'string') return `must be the name of a ${what}`
  const own = table.map(names => names[0] ?? '')
  return `no ${what} has this name; ${didYouMean(value, allNames(table), own)}`
}

const modulePath = v.pipe(v.string(), v.regex(MODULE_PATH), v.description('A module, relative to this file'))

/** A name of the table, or also a module where these are taken unseen. */
const oneOf = (table: readonly Names[], what: string, meaning: string, open = false) => {
  const names = v.picklist(allNames(table), issue => noName(issue.input, table, what))
  return v.pipe(open ? v.union([names, modulePath]) : names, v.description(meaning))
}

/** An object of known keys only; an unknown key's message says which known one is nearest. */
const exactly = <T extends Entries>(entries: T, what: string) =>
  v.strictObject(entries, issue => {
    const key = issue.path?.at(-1)?.key
    if (issue.expected === 'never')
      return `is not a key of ${what}; ${didYouMean(String(key), Object.keys(entries))}`
    return key !== undefined && issue.received === 'undefined' ? `needed in ${what}` : `must be ${what}`
  })

const deviceMessage = 'must be a GPU number (0, 1, ...) or -1 for the CPU'

/** Keys of a group that place it and connect it; RnB's, but for `clip_threshold`. */
const wiring = (selectors: readonly Names[], open?: boolean) => ({
  gpus: v.pipe(
    list(
      v.pipe(v.number(deviceMessage), v.integer(deviceMessage), v.minValue(-1, deviceMessage)),
      'must be a list with at least one GPU number, one for each instance; -1 for the CPU',
    ),
    v.description('Where the instances run: one instance for each entry; a GPU number, or -1 for the CPU'),
  ),
  in_queue: whole(0, 'Queue that the group takes from; the first step has none, it takes from the client'),
  out_queues: v.pipe(
    list(whole(0, 'A queue of the next step'), 'must be a list with at least one queue number'),
    v.description('Queues that the selector chooses from; the last step has none'),
  ),
  queue_selector: oneOf(selectors, 'queue selector', 'Chooses the output queue of each item', open),
  clip_threshold: whole(1, 'Clips from which the selector large-small calls an item large (15)'),
  num_shared_tensors: whole(1, `Output slots of each instance (${DEFAULT_SLOTS}); with none free it waits`),
  num_segments: whole(1, 'Parts that the clips of a video are split into (1)'),
})

/** Keys of a step that are no options of its kind. */
export const WIRING_KEYS: ReadonlySet<string> = new Set(Object.keys(wiring([])))

const optionals = (entries: Entries): Entries =>
  Object.fromEntries(
    Object.entries(entries).map(([key, entry]) => [
      key,
      entry.type === 'optional' ? entry : v.optional(entry),
    ]),
  )

/** The keys that a kind of step understands, where its schema is one object. */
export const entriesOf = (kind: StepKind): Entries | undefined =>
  'entries' in kind.options ? (kind.options.entries as Entries) : undefined

/** Any key may stand in the step or in a group, so none is required here: checkConfig joins both first. */
function stepSchema(kind: StepKind, { selectors, open }: Registry) {
  const own = entriesOf(kind)
  const keys = optionals({ ...own, ...wiring(selectors, open) })
  const object = kind.options.type === 'strict_object' ? exactly : loosely
  const model = v.pipe(v.picklist(kind.names), v.description('Kind of step'))
  return object({ model, ...stepEntries(keys, object) }, `a step of kind ${kind.names[0]}`)
}

/** A step of the user's, whose own keys only its module knows. */
function moduleSchema({ selectors, open }: Registry) {
  const keys = optionals(wiring(selectors, open))
  return loosely({ model: modulePath, ...stepEntries(keys, loosely) }, 'a step')
}

const loosely = (entries: Entries, what: string) => v.looseObject(entries, `must be ${what}`)

/** Keys of a step that no group of it can have: what it is called, and where it stands among the others. */
const placing = {
  name: v.optional(text('What results and `inputs` of other steps call this one; by default its kind')),
  inputs: v.optional(
    v.pipe(
      v.array(
        v.union([whole(0, 'Index of a step'), text('Name of a step')], 'must be the name or index of a step'),
        'must be a list of steps, by name or index',
      ),
      v.description('Steps that this one reads from; by default the one before'),
    ),
  ),
}

/** Keys of a step that its groups do not inherit. */
export const PLACING_KEYS: readonly string[] = Object.keys(placing)

const stepEntries = (keys: Entries, object: typeof loosely | typeof exactly) => ({
  ...placing,
  queue_groups: v.pipe(
    list(object(keys, 'a queue group'), 'must be a list with at least one queue group'),
    v.description('Groups of instances; a key given here wins over the same key of the step'),
  ),
  ...keys,
})

/** How a step is placed and connected, whatever its kind: what can be said of a step of unknown kind. */
export const anyStepSchema = (selectors: readonly Names[]) =>
  loosely(stepEntries(optionals(wiring(selectors)), loosely), 'a step')

/** The pipeline file, described once: checks use it, and its JSON Schema is generated from it. */
export function fileSchema(registry: Registry) {
  const kinds = registry.kinds.map(kind => kind.names)
  const steps = [
    ...registry.kinds.map(kind => stepSchema(kind, registry)),
    ...(registry.open ? [moduleSchema(registry)] : []),
  ]
  const step = v.variant('model', steps as never, issue => {
    if (issue.path?.at(-1)?.key !== 'model')
      return 'must be a step: an object with "model" and "queue_groups"'
    return noName(issue.input, kinds, 'step')
  })
  return exactly(
    {
      $schema: v.optional(text('Where editors find the JSON Schema of this file')),
      name: v.optional(text('Name of the pipeline in outputs; the file name by default')),
      description: v.optional(text('What the pipeline is for')),
      video_path_iterator: v.optional(
        oneOf(
          registry.iterators,
          'video path iterator',
          'Where the list of videos comes from',
          registry.open,
        ),
      ),
      video_root: v.optional(
        text(
          'Videos: a folder (of folders named by class), a file, a glob, or LIST.txt; relative to this file',
        ),
      ),
      weights: v.optional(
        text('Checkpoint of the network, relative to this file; random weights without it'),
      ),
      labels: v.optional(text('Names of the classes, one a line, relative to this file')),
      pipeline: v.pipe(
        list(step as v.GenericSchema<StepInput>, 'must be a list with at least one step'),
        v.description('The steps, in the order in which a video passes them'),
      ),
    },
    'a pipeline file',
  )
}

/** A group as written: wiring keys, and the options of the step's kind. */
export interface GroupInput {
  gpus?: number[]
  in_queue?: number
  out_queues?: number[]
  queue_selector?: string
  clip_threshold?: number
  num_shared_tensors?: number
  num_segments?: number
  [option: string]: unknown
}

export interface StepInput extends GroupInput {
  model: string
  name?: string
  inputs?: (number | string)[]
  queue_groups: GroupInput[]
}
