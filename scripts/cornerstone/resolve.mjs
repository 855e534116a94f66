// Cornerstone's modules are written for bundlers: they import folders and files without an ending. Node resolves such names
// only for CommonJS, so that resolver is asked where the one for ES modules gives up. Packages that are not beside this folder
// are looked for in $SCARGATE_NODE_PACKAGES, where scripts/install.sh puts them.
import { register } from 'node:module';

const hooks = `
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
const installed = pathToFileURL((process.env.SCARGATE_NODE_PACKAGES ?? '.') + '/package.json').href;
export async function resolve(name, context, next) {
  try {
    return await next(name, context);
  } catch (error) {
    if (error.code === 'ERR_MODULE_NOT_FOUND' && !context.parentURL.includes('/node_modules/')) return next(name, { ...context, parentURL: installed });
    if (!['ERR_UNSUPPORTED_DIR_IMPORT', 'ERR_MODULE_NOT_FOUND'].includes(error.code)) throw error;
    return next(pathToFileURL(createRequire(context.parentURL).resolve(name)).href, context);
  }
}`;
register('data:text/javascript,' + encodeURIComponent(hooks));
