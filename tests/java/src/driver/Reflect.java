package driver;

import java.lang.reflect.Method;
import java.util.Arrays;

/** Calls by name, for classes and methods that moved or changed between client versions. */
final class Reflect {
    /** Calls the method of that name that takes these arguments. */
    static Object call(Object target, String name, Object... arguments) throws Exception {
        for (Class<?> type = target.getClass(); type != null; type = type.getSuperclass()) {
            for (Method method : type.getDeclaredMethods()) {
                if (method.getName().equals(name) && accepts(method.getParameterTypes(), arguments)) {
                    method.setAccessible(true);
                    return method.invoke(target, arguments);
                }
            }
        }
        throw new NoSuchMethodException(target.getClass().getName() + "." + name + Arrays.toString(arguments));
    }

    /** What a method without parameters gives; null where this version has none. */
    static Object optional(Object target, String name) {
        try {
            return target.getClass().getMethod(name).invoke(target);
        } catch (ReflectiveOperationException missing) {
            return null;
        }
    }

    /** A client of that group that writes traces: 4.x says so when it is made, 5.x later. */
    static <T> T traced(Class<T> type, String group) throws Exception {
        try {
            return type.getConstructor(String.class, boolean.class).newInstance(group, true);
        } catch (NoSuchMethodException since5) {
            T client = type.getConstructor(String.class).newInstance(group);
            call(client, "setEnableTrace", true);
            return client;
        }
    }

    /** The type of a parameter of the only method with that name and number of parameters. */
    static Class<?> parameter(Class<?> type, String name, int count, int index) throws Exception {
        for (Method method : type.getMethods()) {
            if (method.getName().equals(name) && method.getParameterCount() == count) {
                return method.getParameterTypes()[index];
            }
        }
        throw new NoSuchMethodException(type.getName() + "." + name + "/" + count);
    }

    /** The constant of an enum whose package moved, found through a sibling constant. */
    @SuppressWarnings({"unchecked", "rawtypes"})
    static <E extends Enum> E sibling(E other, String name) {
        return (E) Enum.valueOf(other.getDeclaringClass(), name);
    }

    /** The response code inside an MQBrokerException or MQClientException, else null. */
    static Object responseCode(Throwable failure) {
        for (Throwable at = failure; at != null; at = at.getCause()) {
            try {
                return at.getClass().getMethod("getResponseCode").invoke(at);
            } catch (ReflectiveOperationException next) {
                // Not one of those two: look further down.
            }
        }
        return null;
    }

    private static boolean accepts(Class<?>[] types, Object[] arguments) {
        if (types.length != arguments.length) {
            return false;
        }
        for (int i = 0; i < types.length; i++) {
            Class<?> type = types[i];
            Object argument = arguments[i];
            boolean fits = type == int.class ? argument instanceof Integer
                : type == long.class ? argument instanceof Long
                : type == boolean.class ? argument instanceof Boolean
                : argument == null || type.isInstance(argument);
            if (!fits) {
                return false;
            }
        }
        return true;
    }
}
