import * as v from 'valibot'
import { VideoError } from '../../errors.ts'
import type { Item } from '../../queue/item.ts'
import type { TensorSpec as Spec } from '../../queue/tensor.ts'
import type { Emit, StepContext as InnerContext, StepInstance, StepKind } from '../step.ts'
import type { Options, Step, StepClass, StepContext, Tensor } from './api.ts'
import { Card } from './card.ts'
import { ModuleError, moduleError } from './fault.ts'
import { UserGpu } from './gpu.ts'
import { jsonFault } from './json.ts'
import { importClass } from './module.ts'
import { optionsSchema } from './options.ts'
import { issueText, shapeOf, told } from './shape.ts'

const outcomeSchema = v.optional(v.strictObject({ values: v.optional(v.array(v.unknown())) }))

/** An instance of a class of the user's, as the pipeline knows steps. */
class UserStep implements StepInstance {
  readonly #step: Step
  readonly #gpu: UserGpu | undefined

  constructor(
    readonly file: string,
    Class: StepClass,
    readonly context: InnerContext,
  ) {
    this.#gpu = context.gpu && new UserGpu(context.gpu, context.name)
    const seen: StepContext = {
      name: context.name,
      options: context.options as Options,
      device: context.device,
      seed: context.settings.seed,
      inputs: context.inputs.map(told),
      outputs: context.outputs.map(told),
      ...(this.#gpu && { gpu: this.#gpu }),
    }
    try {
      this.#step = new Class(seen)
    } catch (error) {
      throw moduleError(file, 'constructor', error)
    }
  }

  async warmUp(): Promise<void> {
    try {
      await this.#step.warmUp?.()
    } catch (error) {
      throw moduleError(this.file, 'warmUp()', error)
    }
  }

  async run(items: readonly Item[], emit: Emit): Promise<void> {
    for (const item of items) await this.#runOne(item, emit)
  }

  async #runOne(item: Item, emit: Emit): Promise<void> {
    const card = new Card(this, item)
    const inputs = this.tensors(item, this.context.inputs)
    let outcome: unknown
    try {
      outcome = await this.#step.run(inputs, card)
    } catch (error) {
      if (error instanceof VideoError) throw error
      throw card.passing ?? moduleError(this.file, 'run()', error)
    }
    if (card.passing) throw card.passing
    this.#keep(outcome, card)
    const out = card.leaving()
    if (this.context.step === 0)
      for (const { request, clips } of out.shares)
        this.context.note(request, { clips, framesNeeded: 0, framesDecoded: 0, decoder: 'none' })
    emit(out)
  }

  /** Puts values into the result lines. @throws {ModuleError} if these are none */
  #keep(outcome: unknown, { requests }: Card): void {
    const fail = (what: string) => new ModuleError(`${this.file}: run() gave ${what}`)
    const parsed = v.safeParse(outcomeSchema, outcome)
    if (!parsed.success) throw fail(`neither undefined nor { values }: ${issueText(parsed.issues[0])}`)
    const values = parsed.output?.values
    if (!values) return
    if (values.length !== requests.length)
      throw fail(`${values.length} values for ${requests.length} requests: one for each of card.requests`)
    const fault = jsonFault(values, 'values')
    if (fault) throw fail(`what JSON cannot hold: ${fault}`)
    requests.forEach(({ id, part }, i) => {
      try {
        this.context.keep(id, part, JSON.stringify(values[i]))
      } catch (error) {
        if (!(error instanceof RangeError)) throw error
        throw fail(`values of ${error.message}: raise \`values\` in what shape() gives`)
      }
    })
  }

  /** An item's tensors as the module sees them: views of the memory that they lie in. */
  tensors(item: Item, specs: readonly Spec[]): Tensor[] {
    return item.tensors.map(({ shape }, i) => {
      const spec = specs[i]!
      if (spec.memory === 'device')
        return {
          memory: 'device',
          type: spec.type,
          shape,
          pointer: this.#gpu!.near(this.context, item, i, spec),
        }
      return { memory: 'host', type: 'f32', shape, data: this.context.view(item, i) }
    })
  }

  close(): void {
    try {
      this.#step.close?.()
    } catch (error) {
      throw moduleError(this.file, 'close()', error)
    } finally {
      this.#gpu?.close()
    }
  }
}

/**
 * The kind of step that a module of the user's makes.
 * @param name as the pipeline file has it
 * @param file the same as an absolute path
 * @throws {ModuleError} if the module cannot be read, or exports no step
 */
export async function userStep(name: string, file: string): Promise<StepKind> {
  const Class = (await importClass(file, ['run'])) as unknown as StepClass
  const { shape, options } = Class as { shape?: unknown; options?: unknown }
  if (shape !== undefined && typeof shape !== 'function')
    throw new ModuleError(`${file}: static shape must be a function`)
  return {
    names: [name],
    module: file,
    options: optionsSchema(file, options),
    shape: (...args) => shapeOf(file, Class, ...args),
    create: context => new UserStep(file, Class, context),
  }
}
