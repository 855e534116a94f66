// Cornerstone's packages are written for bundlers: they import folders and files without an ending, and do not say that they
// are ES modules. Node resolves such names only for CommonJS, so that resolver is asked where the one for ES modules gives up.
// Packages that are not beside this folder are looked for in $SCARGATE_NODE_PACKAGES, where scripts/install.sh puts them.
import { webcrypto } from 'node:crypto';
import { register } from 'node:module';

// What Cornerstone expects of a browser and Node 18 does not offer by itself.
globalThis.crypto ??= webcrypto;
globalThis.CustomEvent ??= class extends Event {
  constructor(type, options) {
    super(type, options);
    this.detail = options?.detail ?? null;
  }
};

const hooks = `
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
const installed = pathToFileURL((process.env.SCARGATE_NODE_PACKAGES ?? '.') + '/package.json').href;

async function find(name, context, next) {
  try {
    return await next(name, context);
  } catch (error) {
    if (error.code === 'ERR_MODULE_NOT_FOUND' && !context.parentURL.includes('/node_modules/')) return next(name, { ...context, parentURL: installed });
    if (!['ERR_UNSUPPORTED_DIR_IMPORT', 'ERR_MODULE_NOT_FOUND'].includes(error.code)) throw error;
    return next(pathToFileURL(createRequire(context.parentURL).resolve(name)).href, context);
  }
}

export async function resolve(name, context, next) {
  const found = await find(name, context, next);
  return /\\/node_modules\\/(@cornerstonejs|@kitware\\/vtk\\.js)\\/.*\\.js$/.test(found.url) ? { ...found, format: 'module' } : found;
}`;
register('data:text/javascript,' + encodeURIComponent(hooks));
