import { resolve } from 'node:path'
import type { Config } from '../pipeline/config.ts'
import { isModulePath } from '../steps/user/module.ts'
import type { PipelineFile } from './types.ts'

/** Keys of a step, or of its groups, that name files. */
const FILES = ['weights', 'labels'] as const
/** Keys that may name a module. */
const MODULES = ['model', 'queue_selector'] as const

type Entry = PipelineFile['pipeline'][number]

const withPaths = <T extends Record<string, unknown>>(entry: T, folder: string): T => {
  const at = (key: string) => {
    const value = entry[key]
    return typeof value === 'string' ? { [key]: resolve(folder, value) } : {}
  }
  const modules = MODULES.filter(key => isModulePath(entry[key]))
  return Object.assign({}, entry, ...FILES.map(at), ...modules.map(at))
}

/** What of a run's flags stands in a pipeline file, too. */
export interface Named {
  videoRoot?: string | undefined
  weights?: string | undefined
  labels?: string | undefined
}

/**
 * A pipeline file's content with absolute paths, so that it may be written anywhere.
 * @param config the file, checked
 * @param flags files that win over those that it names; relative to the working folder
 */
export function givenFile(config: Config, flags: Named): PipelineFile {
  const { $schema: _, ...file } = JSON.parse(config.text!) as PipelineFile & { $schema?: string }
  const { folder } = config
  const path = (flag: string | undefined, own: string | undefined) =>
    flag !== undefined ? resolve(flag) : own !== undefined ? resolve(folder, own) : undefined
  const [videoRoot, weights, labels] = [
    path(flags.videoRoot, file.video_root),
    path(flags.weights, file.weights),
    path(flags.labels, file.labels),
  ]
  const iterator = file.video_path_iterator
  return {
    ...file,
    name: file.name ?? config.name,
    ...(isModulePath(iterator) && { video_path_iterator: resolve(folder, iterator) }),
    ...(videoRoot !== undefined && { video_root: videoRoot }),
    ...(weights !== undefined && { weights }),
    ...(labels !== undefined && { labels }),
    pipeline: file.pipeline.map(step => ({
      ...withPaths<Entry>(step, folder),
      queue_groups: step.queue_groups.map(group => withPaths(group, folder)),
    })),
  }
}
