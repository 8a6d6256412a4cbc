// Lets Node import web/ as it is: the editor's two modules come from this folder.

import { register } from "node:module";

const EDITOR = /^\.\.\/\.\.\/scripts\/(app|api)\.js$/;

export function resolve(specifier, context, nextResolve) {
    const [, name] = EDITOR.exec(specifier) ?? [];
    return name ? nextResolve(new URL(`./${name}.js`, import.meta.url).href, context) : nextResolve(specifier, context);
}

if (!import.meta.url.endsWith("?hooks")) register(`${import.meta.url}?hooks`);
