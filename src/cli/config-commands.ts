import type { Argv } from 'yargs'
import { builtin } from '../pipeline/builtin.ts'
import { builtinFiles } from '../pipeline/builtin-files.ts'
import { withModules } from '../pipeline/modules.ts'
import { checkConfigFile, configSchema, describePlan } from './config.ts'

/** `rnb config check FILE`, `rnb config list` and `rnb config schema`. */
export function configCommands(parser: Argv): Argv {
  return parser
    .command(
      'check <file>',
      'check a pipeline file; its plan as JSON on standard output. Modules that it names are run',
      p =>
        p
          .positional('file', { type: 'string', demandOption: true, describe: 'pipeline file' })
          .option('per_gpu_queue', {
            alias: 'p',
            type: 'boolean',
            default: false,
            describe: 'check it for runs with this flag',
          }),
      async ({ file, per_gpu_queue }) => {
        const plan = checkConfigFile(file, await withModules(file, builtin), undefined, per_gpu_queue)
        for (const line of describePlan(plan)) console.error(line)
        process.stdout.write(`${JSON.stringify({ type: 'plan', ...plan })}\n`)
      },
    )
    .command('list', 'list the pipeline files that come with the program, as JSON', {}, () => {
      for (const { path, text } of builtinFiles()) {
        const { description } = JSON.parse(text) as { description: string }
        const name = path.replace(/^config\//, '').replace(/\.json$/, '')
        console.log(JSON.stringify({ type: 'configuration', name, description }))
      }
    })
    .command('schema', 'print the JSON Schema of pipeline files', {}, () => {
      process.stdout.write(configSchema())
    })
    .demandCommand(1, 'config: name one of check, list, schema')
}
