import type { Argv } from 'yargs'
import { builtinFiles } from '../pipeline/builtin-files.ts'
import { checkConfigFile, configSchema, describePlan } from './config.ts'

/** `rnb config check FILE`, `rnb config list` and `rnb config schema`. */
export function configCommands(parser: Argv): Argv {
  return parser
    .command(
      'check <file>',
      'check a pipeline file; its plan as JSON on standard output',
      p => p.positional('file', { type: 'string', demandOption: true, describe: 'pipeline file' }),
      ({ file }) => {
        const plan = checkConfigFile(file)
        for (const line of describePlan(plan)) console.error(line)
        console.log(JSON.stringify({ type: 'plan', ...plan }))
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
