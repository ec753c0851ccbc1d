import { networkArchitecture } from '../../../models/load.ts'
import { checkConfig } from '../../pipeline/config.ts'
import { clipOf, networksOf, threadsPerNetwork } from '../../pipeline/model.ts'
import type { Registry } from '../../pipeline/registry.ts'
import type { Surroundings } from '../plan-of.ts'
import type { PipelineFile } from '../types.ts'

type Found = ReturnType<NonNullable<Surroundings['networks']>>

/** Reads what networks a pipeline file's steps run, each checkpoint once. */
export function networkReader(registry: Registry, weights?: string): NonNullable<Surroundings['networks']> {
  const architectures = new Map<string, ReturnType<typeof networkArchitecture>['architecture']>()
  return (file: PipelineFile): Found => {
    const config = checkConfig(file, registry, { name: file.name ?? 'the plan', folder: '/' })
    const { sources, ofStep } = networksOf(config, weights ?? config.weights, 0)
    const found = sources.map(source => {
      const text = JSON.stringify(source)
      if (!architectures.has(text)) architectures.set(text, networkArchitecture(source).architecture)
      return architectures.get(text)!
    })
    return { networks: { architectures: found, ofStep }, clip: clipOf(config) }
  }
}

/** CPU threads that the program gives each network of a pipeline file. */
export const threadsOfFile = (file: PipelineFile, registry: Registry, onCpu: boolean): number =>
  threadsPerNetwork(checkConfig(file, registry, { name: file.name ?? 'the plan', folder: '/' }), onCpu)
